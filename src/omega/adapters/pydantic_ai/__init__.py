"""Agents of pydantic-ai in Omega's flows. Needs the extra `pydantic-ai`; `OmegaDurability` loads the library, the rest does not."""

from typing import TYPE_CHECKING, Any

from omega.adapters.pydantic_ai.effector import AgentEffector, AgentOperation
from omega.adapters.pydantic_ai.relay import durably

if TYPE_CHECKING:
    from omega.adapters.pydantic_ai.durability import OmegaDurability as OmegaDurability


def __getattr__(name: str) -> Any:
    if name == "OmegaDurability":
        from omega.adapters.pydantic_ai.durability import OmegaDurability

        return OmegaDurability
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AgentEffector", "AgentOperation", "OmegaDurability", "durably"]
