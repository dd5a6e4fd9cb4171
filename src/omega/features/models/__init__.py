"""Models: which there are, asking them, what may be spent on them, and how good they are at stored cases."""

from omega.kernel.service import Manifest

manifest = Manifest(
    name="models",
    version="1.0.0",
    summary="asking models: routes, fallbacks, allowances, evaluations",
    home="omega.features.models.service:Models",
)
"""The nouns of the service are in `model`, its verbs in `service`."""
