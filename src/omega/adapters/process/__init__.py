"""Outside programs: the effector for `Command`, and the shield that keeps anything the engine starts from outliving it."""

from omega.adapters.process.effector import ProcessEffector
from omega.adapters.process.launch import NO_CAPS, Caps, environment, launch

__all__ = ["NO_CAPS", "Caps", "ProcessEffector", "environment", "launch"]
