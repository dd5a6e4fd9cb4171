"""The guard: whether flows, workers and tenants keep what is promised of them, and who is told when they do not."""

from omega.kernel.service import Manifest

manifest = Manifest(
    name="guard",
    version="1.0.0",
    summary="health, service levels and error budgets, and alerts about them",
    home="omega.defence.guard.service:Guard",
)
