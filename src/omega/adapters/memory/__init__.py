"""The system of record in process memory: for tests and the simulator, with the same rules as the one on disk."""

from omega.adapters.memory.store import Counts, MemoryStore, Snapshot

__all__ = ["Counts", "MemoryStore", "Snapshot"]
