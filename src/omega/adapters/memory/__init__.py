"""The system of record in process memory: for tests and the simulator, with the same rules as the one on disk."""

from omega.adapters.memory.state import Snapshot
from omega.adapters.memory.store import MemoryStore
from omega.adapters.memory.wakeups import MemoryWakeups

__all__ = ["MemoryStore", "MemoryWakeups", "Snapshot"]
