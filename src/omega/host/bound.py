"""Passports that are good at one address alone (RFC 8707): their ids name it, so that whatever is made from them is bound to it too.

    ten_1/key_2/grt_3/rsc-DIGEST/pas_4

DIGEST is the beginning of the SHA-256 of the resource, in base64url. Whether a request lies within the resource is told from the id and the
request's own address: no record is read, and nothing that continues the id can leave the resource out.
"""

from __future__ import annotations

import base64
from hashlib import sha256

from omega.kernel.errors import Denied
from omega.wire.oauth import covering

RESOURCE = "rsc-"
DIGEST_BYTES = 24
"""Bytes of the digest: nobody finds another address with the same ones."""


def resource_part(resource: str) -> str:
    """The part of an id that binds to `resource` (`omega.wire.oauth.resource_name`)."""
    return RESOURCE + base64.urlsafe_b64encode(sha256(resource.encode()).digest()[:DIGEST_BYTES]).decode()


def demand_here(passport: str, url: str) -> None:
    """Raise Denied (OMG-T001) when the passport of that id is bound to a resource that `url` (scheme, host, path) does not belong to."""
    if RESOURCE not in passport:
        return
    bound = [part for part in passport.split("/") if part.startswith(RESOURCE)]
    here = {resource_part(each) for each in covering(url)}
    if any(part not in here for part in bound):
        raise Denied("OMG-T001", "no passport came that counts here", advice="sign in for this address: its metadata says where")
