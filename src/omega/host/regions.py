"""Regions: where a tenant's log belongs, and consent to take a copy of it elsewhere.

A region is an arrangement of the kind `region`, a consent one of the kind `consent`, named TENANT.REGION: both are given on record, so the
log says who agreed to a transfer, and why. An export names the region that it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from omega.host.arrangements import Documents, arranged
from omega.host.holds import MAX_REASON
from omega.kernel.errors import Denied, InputError

REGION = "region"
CONSENT = "consent"
"""The kinds of the documents."""


class Region(StrEnum):
    """Where data may have to stay."""

    US = "us"
    EU = "eu"
    UK = "uk"
    APAC = "apac"


def check_region(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A region's document as it is kept. Raises InputError (OMG-I001)."""
    return {"region": str(region_of(str(body.get("region"))))}


def check_consent(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A consent's document as it is kept: to which region, and why. Raises InputError (OMG-I001)."""
    tenant, _, region = name.rpartition(".")
    reason = body.get("reason")
    if not tenant or not isinstance(reason, str) or not 0 < len(reason.strip()) <= MAX_REASON:
        raise InputError("OMG-I001", f"a consent is named TENANT.REGION and says why, in at most {MAX_REASON} letters")
    return {"region": str(region_of(region)), "reason": reason.strip()}


def region_of(text: str) -> Region:
    """The region of that name. Raises InputError (OMG-I001)."""
    try:
        return Region(text.lower())
    except ValueError:
        raise InputError("OMG-I001", f"{text[:40]!r} is no region", advice=f"one of {', '.join(Region)}") from None


def home_of(documents: Documents, tenant: str) -> str:
    """The region of a tenant; empty when none was arranged."""
    found = arranged(documents, REGION, tenant)
    return "" if found is None else str(found["region"])


def demand_consent(documents: Documents, tenant: str, to: str) -> str:
    """Why a copy may go to the region `to`: empty where it belongs there, or nowhere in particular.

    Raises Denied (OMG-C006) without a consent on record, InputError (OMG-I001) for no region.
    """
    home = home_of(documents, tenant)
    target = str(region_of(to)) if to else home
    if not home or target == home:
        return ""
    consent = arranged(documents, CONSENT, f"{tenant}.{target}")
    if consent is None:
        raise Denied("OMG-C006", f"the log of {tenant} belongs to {home} and was asked for in {target}")
    return str(consent["reason"])
