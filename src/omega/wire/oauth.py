"""OAuth 2.1 as data: what clients say of themselves, where answers may be sent, proofs of possession of a code, and what is published.

Pure: nothing is fetched, kept or signed here. Formats: RFC 6749, RFC 7591 (client metadata), RFC 7636 (PKCE), RFC 8252 (native apps),
RFC 8414 and RFC 9728 (metadata), RFC 8707 (resource indicators), RFC 9207 (`iss`), and draft-ietf-oauth-client-id-metadata-document.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from omega.kernel.errors import InputError

MAX_URI: Final = 2_000
"""Longest address that a client names, in characters."""

MAX_REDIRECTS: Final = 10
"""Most addresses that a client may be answered at."""

MAX_NAME: Final = 80
"""Longest name of a client that is shown, in characters."""

LOOPBACK: Final = ("127.0.0.1", "[::1]", "localhost")
"""Hosts that are the person's own machine (RFC 8252, 7.3); there any port is the client's."""

METHODS: Final = ("none", "client_secret_basic", "client_secret_post")
"""How a client may prove who it is at the token endpoint."""

FOREIGN: Final = ("javascript", "data", "vbscript", "file", "blob", "about", "http", "https", "ws", "wss", "view-source", "ftp")
"""Schemes that are no application's own: what a browser would run, show or fetch."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,63}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PLAIN_URI: Final = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_TRICK: Final = re.compile(r"/\.{1,2}(/|$)|%(2f|5c|2e|00|0a|0d|25)|//", re.IGNORECASE)
_PLACE: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
"""Host and port: what stands in a policy of a page is nothing else."""

_HIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks for access. `id` is its `client_id`; `voucher` the host that vouches for it (where its metadata document lies), empty for
    one that registered itself; `secret_sha256` is empty for a public client."""

    id: str
    name: str
    redirects: tuple[str, ...]
    voucher: str = ""
    home: str = ""
    method: str = "none"
    secret_sha256: str = ""

    @property
    def actor(self) -> str:
        """The client in a chain of delegation: `agent:` and what it is known by, or the beginning of its SHA-256 where that is too long."""
        known = self.id.removeprefix("https://")
        fits = len(known) <= 120 and known.isprintable() and " " not in known
        return f"agent:{known}" if fits else f"agent:{self.voucher[:60]}~{sha256(self.id.encode()).hexdigest()[:32]}"


def client_from(document: Mapping[str, Any], *, id: str, voucher: str = "") -> Client:
    """A client from its metadata (RFC 7591, 2). Raises InputError (OMG-G012) naming the member that does not fit."""
    redirects = document.get("redirect_uris")
    if not isinstance(redirects, list) or not 0 < len(redirects) <= MAX_REDIRECTS or not all(isinstance(each, str) for each in redirects):
        raise unfit(f"redirect_uris holds 1 to {MAX_REDIRECTS} addresses", oauth="invalid_redirect_uri")
    for each in redirects:
        check_redirect(each)
    grants = document.get("grant_types", ["authorization_code"])
    if not isinstance(grants, list) or "authorization_code" not in grants:
        raise unfit("a client asks with a code: grant_types holds authorization_code")
    responses = document.get("response_types", ["code"])
    if not isinstance(responses, list) or "code" not in responses:
        raise unfit("a client is answered with a code: response_types holds code")
    method = document.get("token_endpoint_auth_method", "none" if voucher else "client_secret_basic")
    if method not in METHODS or (voucher and method != "none"):
        raise unfit("this way of proving who the client is is not known here: use none")
    name = document.get("client_name")
    return Client(
        id=id,
        name=shown(name) if isinstance(name, str) else "",
        redirects=tuple(redirects),
        voucher=voucher,
        home=_home(document.get("client_uri"), voucher),
        method=str(method),
    )


def client_document(document: Mapping[str, Any], address: str) -> Client:
    """A client from the metadata document at `address`, which is its id. Raises InputError (OMG-G012)."""
    if document.get("client_id") != address:
        raise unfit("the document names another client_id than the address it lies at", oauth="invalid_client")
    if "client_secret" in document or "client_secret_expires_at" in document:
        raise unfit("a client whose metadata everybody can read has no secret", oauth="invalid_client")
    return client_from(document, id=address, voucher=urlsplit(address).netloc)


def is_document_id(client: str) -> bool:
    """Whether a `client_id` is the address of a metadata document: https, with a path, without a fragment, user or dot segments."""
    try:
        parts = urlsplit(client)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = (
        len(client) <= MAX_URI
        and _PLACE.fullmatch(parts.netloc) is not None
        and _PLAIN_URI.fullmatch(client) is not None
        and _TRICK.search(parts.path) is None
    )
    return bool(plain and parts.scheme == "https" and host and parts.path not in ("", "/") and "@" not in parts.netloc)


def check_redirect(uri: str) -> None:
    """Raise InputError (OMG-G012) for an address that no answer is sent to: one with a fragment, a user, tricks in its path, `http` beyond
    the person's own machine, or a scheme that a browser serves itself."""
    bad = unfit("an answer is sent over https, to this machine, or to an application's own scheme", oauth="invalid_redirect_uri")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise bad from None
    plain = 0 < len(uri) <= MAX_URI and _PLAIN_URI.fullmatch(uri) is not None and uri.partition(":")[0] == parts.scheme
    if not plain or "@" in parts.netloc or _TRICK.search(parts.path):
        raise bad
    if parts.scheme in ("http", "https") and (not host or _PLACE.fullmatch(parts.netloc) is None):
        raise bad
    if parts.scheme == "https" or (parts.scheme == "http" and _bare(parts.netloc) in LOOPBACK):
        return
    if _SCHEME.fullmatch(parts.scheme) is None or parts.scheme in FOREIGN:
        raise bad


def same_redirect(asked: str, registered: Iterable[str]) -> bool:
    """Whether an answer may be sent to `asked`: character by character one of those registered, but for the port on the person's own
    machine (RFC 8252, 7.3)."""
    return any(asked == each or (_portless(asked) == _portless(each) != "") for each in registered)


def _portless(uri: str) -> str:
    """A loopback address without its port; empty for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "http" or _bare(parts.netloc) not in LOOPBACK:
        return ""
    return urlunsplit(("http", _bare(parts.netloc), parts.path, parts.query, ""))


def _bare(netloc: str) -> str:
    host, colon, port = netloc.rpartition(":")
    return host if colon and (port.isdigit() or not port) and not netloc.endswith("]") else netloc


def origin_of(uri: str) -> str:
    """Where `uri` leads, for people and for policies of pages: scheme, host and port, or the scheme of an application."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def answered(redirect: str, fields: Mapping[str, str]) -> str:
    """`redirect` with `fields` added to its query; those of them that have no value are left out."""
    parts = urlsplit(redirect)
    query = parse_qsl(parts.query, keep_blank_values=True) + [(name, value) for name, value in fields.items() if value]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query, quote_via=quote), ""))


# -- PKCE


def is_challenge(text: str) -> bool:
    """Whether `text` can be a challenge of the method S256 (RFC 7636, 4.2)."""
    return _CHALLENGE.fullmatch(text) is not None


def verifies(verifier: str, challenge: str) -> bool:
    """Whether `verifier` is what `challenge` was made from (RFC 7636, 4.6), in constant time."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    return hmac.compare_digest(challenge_of(verifier), challenge)


def challenge_of(verifier: str) -> str:
    """The challenge of a verifier by S256."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


# -- resources


def resource_name(resource: str) -> str:
    """`resource` as it is compared: scheme and host in lower case, without a slash at the end. Raises InputError (OMG-G012)."""
    try:
        parts = urlsplit(resource)
    except ValueError:
        raise unfit("the resource is no address", oauth="invalid_target") from None
    bad = parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc or parts.query or "#" in resource
    if bad or len(resource) > MAX_URI or _TRICK.search(parts.path):
        raise unfit("the resource is an address without a query and a fragment", oauth="invalid_target")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def covering(url: str) -> tuple[str, ...]:
    """The resources that an address belongs to: itself, the entrance it lies below, the whole installation. Virtual servers of MCP are
    resources of their own: what is good for one of them is good for no other, and not for the entrance they lie below."""
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc.lower()}"
    first = parts.path.split("/", 2)[1] if parts.path.startswith("/") else ""
    whole = f"{base}{parts.path.rstrip('/')}"
    return tuple(dict.fromkeys((whole, base) if first == "mcp" else (whole, f"{base}/{first}", base)))


# -- what is shown


def shown(text: str) -> str:
    """A name from outside as it is shown: on one line, without characters that hide or turn text, at most `MAX_NAME` long."""
    plain = " ".join(_HIDDEN.sub("", text).split())
    return plain if len(plain) <= MAX_NAME else plain[: MAX_NAME - 1] + "…"


def _home(uri: object, voucher: str) -> str:
    """The home page of a client, where it is https and lies at the host that vouches for it."""
    if not isinstance(uri, str) or len(uri) > MAX_URI or _PLAIN_URI.fullmatch(uri) is None:
        return ""
    parts = urlsplit(uri)
    return uri if parts.scheme == "https" and voucher and parts.netloc == voucher else ""


def unfit(cause: str, *, oauth: str = "invalid_client_metadata", advice: str = "") -> InputError:
    """What a client says does not fit; `oauth` is the word of the standards for it."""
    return InputError(
        "OMG-G012", cause, advice=advice or "see the section on clients that sign in: docs/gateway.md", details={"oauth": oauth}
    )


# -- what is published


def scopes_of(text: str) -> tuple[str, ...]:
    """The words of a `scope` parameter (RFC 6749, 3.3), each once."""
    return tuple(dict.fromkeys(text.split()))


def server_metadata(
    base: str, *, paths: Mapping[str, str], scopes: Sequence[str], registers: bool, grants: Sequence[str]
) -> dict[str, Any]:
    """What an authorization server says of itself (RFC 8414, 2). `paths` are its endpoints by the name of their member."""
    registration = {"registration_endpoint": f"{base}{paths['registration_endpoint']}"} if registers else {}
    return {
        "issuer": base,
        **{name: f"{base}{path}" for name, path in paths.items() if name != "registration_endpoint"},
        **registration,
        "scopes_supported": list(scopes),
        "grant_types_supported": list(grants),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "dpop_signing_alg_values_supported": ["EdDSA", "Ed25519", "ES256"],
        "service_documentation": f"{base}/api/docs",
    }
