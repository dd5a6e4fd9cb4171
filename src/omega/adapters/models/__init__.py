"""Models: the effector that asks them, what is known of them, what may be spent on them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omega.adapters.models.allowances import Account as Account
    from omega.adapters.models.allowances import Allowance as Allowance
    from omega.adapters.models.allowances import Ledger as Ledger
    from omega.adapters.models.effector import ModelEffector as ModelEffector
    from omega.adapters.models.effector import Surroundings as Surroundings
    from omega.adapters.models.provider import Missing as Missing
    from omega.adapters.models.provider import Provider as Provider
    from omega.adapters.models.provider import configured as configured
    from omega.adapters.models.registry import Caching as Caching
    from omega.adapters.models.registry import Model as Model
    from omega.adapters.models.registry import Registry as Registry
    from omega.adapters.models.registry import Route as Route
    from omega.adapters.models.registry import Source as Source
    from omega.adapters.models.registry import named as named

_HOMES = {
    "Account": "omega.adapters.models.allowances",
    "Allowance": "omega.adapters.models.allowances",
    "Caching": "omega.adapters.models.registry",
    "Ledger": "omega.adapters.models.allowances",
    "Missing": "omega.adapters.models.provider",
    "Model": "omega.adapters.models.registry",
    "ModelEffector": "omega.adapters.models.effector",
    "Provider": "omega.adapters.models.provider",
    "Registry": "omega.adapters.models.registry",
    "Route": "omega.adapters.models.registry",
    "Source": "omega.adapters.models.registry",
    "Surroundings": "omega.adapters.models.effector",
    "configured": "omega.adapters.models.provider",
    "named": "omega.adapters.models.registry",
}

__all__ = [
    "Account",
    "Allowance",
    "Caching",
    "Ledger",
    "Missing",
    "Model",
    "ModelEffector",
    "Provider",
    "Registry",
    "Route",
    "Source",
    "Surroundings",
    "configured",
    "named",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'omega.adapters.models' has no attribute {name!r}")
    return getattr(import_module(home), name)
