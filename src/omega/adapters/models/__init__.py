"""Models: the effector that asks them, what is known of them, what may be spent on them."""

from omega.adapters.models.allowances import Account, Allowance, Ledger
from omega.adapters.models.effector import ModelEffector, Surroundings
from omega.adapters.models.provider import Missing, Provider, configured
from omega.adapters.models.registry import Caching, Model, Registry, Route, Source, named

__all__ = [
    "Account", "Allowance", "Caching", "Ledger", "Missing", "Model", "ModelEffector", "Provider", "Registry", "Route", "Source",
    "Surroundings", "configured", "named",
]  # fmt: skip
