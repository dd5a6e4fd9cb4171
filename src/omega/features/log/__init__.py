"""Log: a tenant's own log, searched, proved and taken away over the network."""

from omega.kernel.service import Manifest

manifest = Manifest(
    name="log",
    version="1.0.0",
    summary="your own log: search, flags, checkpoints, proofs, signed exports",
    home="omega.features.log.service:Log",
)
