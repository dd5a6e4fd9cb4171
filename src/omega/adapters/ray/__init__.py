"""Ray: data-parallel work of pure flows on a Ray cluster, as one touch of the execution that asks for it (extra `ray`)."""

from omega.adapters.ray.effector import RayEffector
from omega.adapters.ray.spread import Spread, on_ray

__all__ = ["RayEffector", "Spread", "on_ray"]
