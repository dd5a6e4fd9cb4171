"""Buses: messages to whoever listens now, within the process or over core NATS."""

from omega.adapters.bus.memory import MemoryBus
from omega.adapters.bus.nats import NatsBus

__all__ = ["MemoryBus", "NatsBus"]
