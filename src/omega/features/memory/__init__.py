"""Memory: conversations of agents and notes of theirs, each tenant's apart, for as long as was said."""

from omega.kernel.service import Manifest, Personal

manifest = Manifest(
    name="memory",
    version="1.0.0",
    summary="what agents remember: conversations and notes, until they expire",
    home="omega.features.memory.service:Memory",
    tables="omega.features.memory.store:SCHEMA",
    personal=Personal(named="named", told="told", erase="erase", destroys=("forget",), trims=("keep",)),
)
