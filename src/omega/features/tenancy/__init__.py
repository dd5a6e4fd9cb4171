"""Tenancy: organisations, projects and environments, who belongs to them, the API keys they call with, and the plans they are on."""

from omega.kernel.service import Manifest, Personal

manifest = Manifest(
    name="tenancy",
    version="1.0.0",
    summary="tenants, members, API keys, plans, settings and feature flags",
    home="omega.features.tenancy.service:Tenancy",
    tables="omega.features.tenancy.store:SCHEMA",
    personal=Personal(named="named", told="told", erase="erase"),
)
