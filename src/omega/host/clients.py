"""Clients that ask people for access: those that publish a document about themselves, and those that registered here.

    https://app.example/oauth/client.json    the id is the address of the client's metadata (draft-ietf-oauth-client-id-metadata-document):
                                             fetched when somebody who signed in is asked, over https from public addresses alone, without
                                             following redirections, kept in memory for `KEPT_S`. Its host vouches for what it says
    cli_...                                  registered by itself (RFC 7591): anybody may say anything of themselves, so nobody vouches. A
                                             sealed document, forgotten after `UNUSED_S` unless somebody has allowed it, else `CLIENT_S`

`OMEGA_REGISTRATION=off` refuses registrations; `OMEGA_CLIENT_NETWORKS=10.0.0.0/8` lets documents be fetched from private networks too.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any, Final

from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web, WebFault
from omega.host.arrangements import Shelf
from omega.host.closed import closed, opened
from omega.host.guessing import subscriber_of
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.ids import new_id
from omega.kernel.ports import Entropy
from omega.trust.sealing import Keyring
from omega.wire.oauth import Client, client_document, client_from, is_document_id, unfit
from omega.wire.strict import read_json

REGISTRATION, NETWORKS = "OMEGA_REGISTRATION", "OMEGA_CLIENT_NETWORKS"

CLIENT: Final = "oauth-client"
"""The kind of the documents of registered clients."""

PREFIX: Final = "cli"
UNUSED_S: Final = 24 * 3_600
CLIENT_S: Final = 90 * 24 * 3_600
"""How long (seconds) a registration lasts: until somebody has allowed the client, and after they did."""

MAX_CLIENTS: Final = 1_000
"""Most registrations at once; past it the oldest that nobody has allowed makes room, then the oldest for which no grant stands."""

MAX_CLIENTS_OF_PERSON: Final = 20
"""Most registered clients that the grants of one person are for; past it the grants of the one that they allowed longest ago end."""

MAX_PER_ADDRESS, MAX_PER_HOUR, HOUR_S = 20, 2_000, 3_600.0
"""Most registrations in an hour: from one address (IPv6: from its /64, which is one subscriber's), and from all: so wide that it takes a
hundred subscribers to use it up."""

MAX_DOCUMENT: Final = 16 << 10
"""Largest metadata document in bytes; the draft asks for no more than 5 KiB."""

FETCH_S: Final = 5.0
KEPT_S: Final = 300.0
MAX_KEPT: Final = 256
MAX_FETCHES, MAX_FETCHES_OF_ALL, MINUTE_S = 30, 600, 60.0
"""Most documents fetched in a minute, for one person, from one subscriber's address, and for all."""


class Pace:
    """How often something was done lately by whom, and by all: what one does too often is refused to that one first."""

    def __init__(self, each: int, of_all: int, span_s: float) -> None:
        self._each, self._span_s = each, span_s
        self._done: deque[tuple[float, tuple[str, ...]]] = deque(maxlen=of_all)
        self._of_all = of_all
        self._counts: Counter[str] = Counter()

    def take(self, now: float, *who: str) -> bool:
        """Note that it is done at `now` (seconds) by `who`, whom each word names; False, and nothing noted, where it is too often."""
        while self._done and not 0 <= now - self._done[0][0] < self._span_s:
            for word in self._done.popleft()[1]:
                self._counts[word] -= 1
                if not self._counts[word]:
                    del self._counts[word]
        if len(self._done) >= self._of_all or any(self._counts[word] >= self._each for word in who):
            return False
        self._done.append((now, who))
        self._counts.update(who)
        return True


class Clients:
    """The clients of one installation. Times are Unix seconds."""

    def __init__(
        self,
        shelf: Shelf,
        keyring: Keyring,
        entropy: Entropy,
        now_us: Callable[[], int],
        standing: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`standing` gives the ids of clients for which a grant stands: they are never dropped for others. Raises InputError (OMG-I001)
        for networks that are none."""
        self._standing = standing
        self._shelf, self._keyring, self._entropy, self._now_us = shelf, keyring, entropy, now_us
        self.registers = os.environ.get(REGISTRATION, "on").lower() not in ("off", "no", "0", "false")
        self._allowed = networks(os.environ.get(NETWORKS, "").replace(",", " ").split())
        self._kept: OrderedDict[str, tuple[float, Client]] = OrderedDict()
        self._fetched = Pace(MAX_FETCHES, MAX_FETCHES_OF_ALL, MINUTE_S)
        self._registered = Pace(MAX_PER_ADDRESS, MAX_PER_HOUR, HOUR_S)

    async def find(self, id: str, *who: str) -> Client:
        """The client of that id, for whom the words of `who` name: what is fetched counts as theirs.

        Raises InputError (OMG-G012) for one that is not known or not fit, Denied (OMG-P011) for a document at an
        address that may not be reached, Denied (OMG-G007) when too many are asked for."""
        if is_document_id(id):
            return await self._published(id, who)
        found = self.known(id)
        if found is None:
            raise unfit("no client of this id is known here", oauth="invalid_client", advice="have the client register again")
        return found

    def known(self, id: str) -> Client | None:
        """A client of that id, without asking anybody: of one that publishes a document no more than the id, for it has no secret."""
        if is_document_id(id):
            return Client(id=id, name="", redirects=())
        found = self._opened(id)
        return None if found is None or found["expires_s"] <= self._now() else _client(found["client"])

    # -- published

    async def _published(self, address: str, who: tuple[str, ...]) -> Client:
        now = self._now()
        kept = self._kept.get(address)
        if kept is not None and 0 <= now - kept[0] < KEPT_S:
            return kept[1]
        if not self._fetched.take(now, *who):
            raise Denied("OMG-G007", "too many clients were asked about", details={"retry_after_s": MINUTE_S})
        client = client_document(await self._document(address), address)
        self._kept[address] = (now, client)
        self._kept.move_to_end(address)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return client

    async def _document(self, address: str) -> Mapping[str, Any]:
        """What lies at `address`. Raises InputError (OMG-G012), Denied (OMG-P011)."""
        web = Web(self._allowed, limit=MAX_DOCUMENT)
        try:
            answer = await web.ask("GET", address, headers={"Accept": "application/json"}, timeout_s=FETCH_S)
        except (WebFault, TimeoutError) as error:
            raise unfit("the client's metadata document cannot be read", oauth="invalid_client") from error
        finally:
            await web.close()
        kind = answer.kind.partition(";")[0].strip().lower()
        if answer.status != 200 or not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
            raise unfit("at the client's address lies no metadata document", oauth="invalid_client")
        with suppress(InputError):
            found = read_json(answer.body)
            if isinstance(found, dict):
                return found
        raise unfit("the client's metadata document is no JSON object", oauth="invalid_client")

    # -- registered

    def register(self, document: Mapping[str, Any], address: str) -> dict[str, Any]:
        """What a new client is told (RFC 7591, 3.2.1); `address` is the peer's. Raises InputError (OMG-G012), Denied (OMG-G007)."""
        if not self.registers:
            raise unfit("clients do not register here", oauth="access_denied", advice="publish a client id metadata document")
        self._take(address)
        now = self._now()
        id = new_id(PREFIX, now_ms=int(now * 1_000), entropy=self._entropy.take(10))
        client = client_from(document, id=id)
        secret = "" if client.method == "none" else base64.urlsafe_b64encode(self._entropy.take(32)).decode().rstrip("=")
        if secret:
            client = replace(client, secret_sha256=sha256(secret.encode()).hexdigest())
        self._make_room(now)
        self._put(id, {"client": asdict(client), "expires_s": now + UNUSED_S, "allowed": False, "made_s": now})
        secrets = {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}
        return {
            "client_id": id,
            "client_id_issued_at": int(now),
            **secrets,
            **({"client_name": client.name} if client.name else {}),
            "redirect_uris": list(client.redirects),
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": client.method,
        }

    def allowed(self, client: Client) -> None:
        """Somebody has allowed `client`: its registration lasts longer now."""
        found = None if client.voucher else self._opened(client.id)
        if found is not None:
            self._put(client.id, found | {"allowed": True, "expires_s": self._now() + CLIENT_S})

    def _take(self, address: str) -> None:
        if not self._registered.take(self._now(), subscriber_of(address)):
            raise Denied("OMG-G007", "too many clients register", details={"retry_after_s": HOUR_S})

    def _make_room(self, now: float) -> None:
        """Drops what has expired, and where there is no room the oldest that nobody has allowed, or for which no grant stands any more.
        Raises Denied (OMG-G007)."""
        standing = []
        for name, _ in self._shelf.documents(CLIENT):
            found = self._opened(name)
            if found is None or found["expires_s"] <= now:
                self._shelf.drop_document(CLIENT, name)
            else:
                standing.append((bool(found["allowed"]), float(found["made_s"]), name))
        if len(standing) < MAX_CLIENTS:
            return
        used = self._standing() if all(allowed for allowed, _, _ in standing) else ()
        idle = [each for each in standing if each[2] not in used]
        if not idle:
            raise Denied("OMG-G007", "no more clients fit in here", details={"retry_after_s": HOUR_S})
        self._shelf.drop_document(CLIENT, min(idle)[2])

    def _opened(self, id: str) -> dict[str, Any] | None:
        if not id.startswith(f"{PREFIX}_") or len(id) > 64:
            return None
        body = self._shelf.document(CLIENT, id)
        if body is None:
            return None
        try:
            found: dict[str, Any] = opened(self._keyring, f"{CLIENT} {id}", json.loads(body))
        except (IntegrityError, ValueError):  # not sealed here: it is as if it were not there
            return None
        return found

    def _put(self, id: str, value: Mapping[str, Any]) -> None:
        body = json.dumps(closed(self._keyring, f"{CLIENT} {id}", dict(value))).encode()
        self._shelf.put_document(CLIENT, id, body, self._now_us())

    def _now(self) -> float:
        return self._now_us() / 1_000_000


def _client(kept: Mapping[str, Any]) -> Client:
    return Client(**{**kept, "redirects": tuple(kept["redirects"])})
