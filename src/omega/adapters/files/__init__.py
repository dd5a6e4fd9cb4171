"""Files: the effector for `ReadFile` and `WriteFiles`."""

from omega.adapters.files.effector import FileEffector

__all__ = ["FileEffector"]
