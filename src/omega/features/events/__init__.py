"""Events: what happened in the caller's tenant, read from the record, and what flows tell each other."""

from omega.kernel.service import Manifest

manifest = Manifest(
    name="events",
    version="1.0.0",
    summary="what happened, in order, from any position on",
    home="omega.features.events.service:Events",
)
