"""Agents: a roster of them, who takes which task, and how several work together."""

from omega.kernel.service import Manifest

manifest = Manifest(
    name="agents",
    version="1.0.0",
    summary="a roster of agents: releases, reputation, self-selection, teams",
    home="omega.features.agents.service:Agents",
)
"""The nouns of the service are in `model`, its verbs in `service`, how agents work together in `teams`."""
