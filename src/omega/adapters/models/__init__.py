"""Models: the effector for `ModelCall`, configured by environment variables alone."""

from omega.adapters.models.effector import ModelEffector
from omega.adapters.models.provider import Missing, Provider, configured

__all__ = ["Missing", "ModelEffector", "Provider", "configured"]
