"""Outside programs: the effector for `Command`, and the shield that keeps anything the engine starts from outliving it."""

from omega.adapters.process.effector import ProcessEffector
from omega.adapters.process.launch import environment, launch

__all__ = ["ProcessEffector", "environment", "launch"]
