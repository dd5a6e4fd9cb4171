"""Insights: what ran, how it ended, how long it took and what it cost."""

from omega.kernel.service import Manifest

manifest = Manifest(
    name="insights",
    version="1.0.0",
    summary="what ran, how it ended, how long it took and what it cost",
    home="omega.features.insights.service:Insights",
)
