"""Credentials of this installation and of others: issue one, show one, ask for one, verify one. Each is a flow, and so on record.

    begin        makes the keys `issuer` and `holder` of the key store; each of the others makes the one that it needs
    issue        signed by the key `issuer`, bound to the key of its holder
    present      signed by the key `holder`, for the verifier and the nonce that it gave out
    challenge    this installation's own name and a new nonce, which counts for ten minutes and once
    check        the issuer is one that an operator named (`omega.host.issuers`) or this installation itself, for a type that it may vouch
                 for; the rest is `omega.trust.credential`. A nonce that was answered is gone, so nothing is accepted twice

The name of an installation is the did:key of its key `issuer`. A refusal is the end of its execution: who showed what cannot hold, and
when, is in the log. Claims stand in sealed payloads alone. Only the installation's own tenant uses these keys.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Final

from omega.host.arrangements import Shelf
from omega.host.clock import SystemEntropy
from omega.host.identity import open_keys
from omega.host.issuers import checked_did, issuer_of
from omega.host.settings import Settings
from omega.host.storage import may_make_keys
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.ports import Signer
from omega.kernel.verdict import Permit
from omega.trust import credential, did
from omega.trust.keys import PublicKey, b64url
from omega.trust.sealing import Keyring

ISSUING: Final = "issuer"
HOLDING: Final = "holder"
"""The keys in the key store."""

NONCE: Final = "credential-nonce"
"""The kind of the documents that say which nonces are out."""

NONCE_BYTES: Final = 24
NONCE_LASTS_S: Final = 600
MAX_NONCES: Final = 1_000
"""Most nonces that are out at once."""

MAX_LASTS_S: Final = 10 * 366 * 86_400
"""Longest life of a credential in seconds."""

MAX_CLAIMS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue(Request):
    """Issue a credential of the type `kind` to `holder` (a did:key), which says `claims`; those in `shown` are in the open, all others are
    the holder's to disclose. `issuer` is the name to issue under, where it is not the did:key of the installation."""

    port: ClassVar[str] = "credentials"
    kind: str
    claims: Mapping[str, Any]
    shown: tuple[str, ...]
    holder: str
    lasts_s: int
    issuer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present(Request):
    """Show `credential` to `audience`, which gave out `nonce`, with the claims in `disclosed` and no other concealed one."""

    port: ClassVar[str] = "credentials"
    credential: str
    disclosed: tuple[str, ...]
    audience: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge(Request):
    """Give out a nonce for a holder to answer."""

    port: ClassVar[str] = "credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Request):
    """Verify `presentation`, which answers `nonce`."""

    port: ClassVar[str] = "credentials"
    presentation: str
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin(Request):
    """Make the keys `issuer` and `holder`, where there are none."""

    port: ClassVar[str] = "credentials"


class VouchingEffector:
    """Serves `Begin`, `Issue`, `Present`, `Challenge` and `Check` with the keys of `settings`. `documents` fetches those of did:web."""

    port = Issue.port

    def __init__(
        self,
        settings: Settings,
        shelf: Shelf,
        keyring: Keyring,
        now_us: Callable[[], int],
        documents: Callable[[], did.Documents] | None = None,
    ) -> None:
        self._settings, self._shelf, self._keyring = settings, shelf, keyring
        self._now_us, self._documents = now_us, documents or _web

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what was issued, shown, given out or verified, as data. Raises Denied: OMG-T007 for what does not hold, OMG-W001 for a
        hosted tenant; InputError (OMG-I001), UpstreamError (OMG-P007), StorageError (OMG-T003)."""
        permit.spend(self.port)
        if permit.tenant != self._settings.tenant:
            raise Denied("OMG-W001", f"{permit.tenant} has no keys for credentials: they are the installation's own")
        if isinstance(request, Begin):
            return {name: did.did_of(PublicKey(self._signer(name).public)) for name in (ISSUING, HOLDING)}, Receipt()
        if isinstance(request, Issue):
            return self._issue(request), Receipt()
        if isinstance(request, Present):
            return self._present(request), Receipt()
        if isinstance(request, Challenge):
            return self._challenge(), Receipt()
        if isinstance(request, Check):
            return await self._check(request), Receipt()
        raise InputError("OMG-I001", f"credentials are issued, presented and verified, there is no {type(request).__name__}")

    def _issue(self, wanted: Issue) -> dict[str, Any]:
        if not wanted.claims or len(wanted.claims) > MAX_CLAIMS or not wanted.kind:
            raise InputError("OMG-I001", f"a credential has a type and 1 to {MAX_CLAIMS} claims")
        if not 0 < wanted.lasts_s <= MAX_LASTS_S:
            raise InputError("OMG-I001", f"a credential lasts at most {MAX_LASTS_S // 86_400} days")
        absent = sorted(set(wanted.shown).difference(wanted.claims))
        if absent:
            raise InputError("OMG-I001", f"there is no claim {absent[0][:80]} that could be in the open")
        holder = did.key_of(wanted.holder)
        signer = self._signer(ISSUING)
        name = wanted.issuer or did.did_of(PublicKey(signer.public))
        if wanted.issuer:
            did.address_of(wanted.issuer)  # only a did:web can be another name: a did:key is its own key
        now_s = self._now_us() // 1_000_000
        made = credential.issue(
            wanted.claims,
            kind=wanted.kind,
            issuer=name,
            signer=signer,
            concealed=[each for each in wanted.claims if each not in wanted.shown],
            holder=holder,
            times=(now_s, now_s + wanted.lasts_s),
            entropy=SystemEntropy().take,
        )
        if len(made) > credential.MAX_CREDENTIAL:
            raise InputError("OMG-I001", f"the credential would be longer than {credential.MAX_CREDENTIAL:,} characters")
        return {"credential": made, "issuer": name, "holder": wanted.holder, "ends_s": now_s + wanted.lasts_s}

    def _present(self, wanted: Present) -> dict[str, Any]:
        if not wanted.audience or not wanted.nonce:
            raise InputError("OMG-I001", "a credential is shown to somebody, in answer to the nonce that they gave out")
        signer = self._signer(HOLDING)
        found = credential.contents(wanted.credential)
        if found.holder is None or found.holder.raw != PublicKey(signer.public).raw:
            cause = "the credential is refused: it was issued to another holder"
            raise Denied("OMG-T007", cause, advice="omega credential show prints the name that it must be issued to")
        audience = credential.Audience(wanted.audience, wanted.nonce)
        now_s = self._now_us() / 1_000_000
        made = credential.present(wanted.credential, wanted.disclosed, signer=signer, audience=audience, now=now_s)
        return {"presentation": made, "disclosed": list(wanted.disclosed), "audience": wanted.audience}

    def _challenge(self) -> dict[str, Any]:
        now_us = self._now_us()
        out = self._shelf.documents(NONCE)
        for name, body in out:
            if _ended(body, now_us):
                self._shelf.drop_document(NONCE, name)
        if sum(not _ended(body, now_us) for _, body in out) >= MAX_NONCES:
            raise Denied("OMG-W005", f"{MAX_NONCES:,} nonces are out already", advice="wait until the oldest have ended")
        nonce, ends_s = b64url(SystemEntropy().take(NONCE_BYTES)), now_us // 1_000_000 + NONCE_LASTS_S
        self._shelf.put_document(NONCE, _place(nonce), json.dumps({"ends_s": ends_s}).encode(), now_us)
        return {"audience": did.did_of(PublicKey(self._signer(ISSUING).public)), "nonce": nonce, "ends_s": ends_s}

    async def _check(self, wanted: Check) -> dict[str, Any]:
        now_us, place = self._now_us(), _place(wanted.nonce)
        own = did.did_of(PublicKey(self._signer(ISSUING).public))
        out = self._shelf.document(NONCE, place)
        if out is None or _ended(out, now_us):
            raise _refused("nobody is asked with this nonce, or it was answered already", "omega credential challenge gives out a new one")
        claimed = credential.contents(wanted.presentation)
        if claimed.holder is None:
            raise _refused("it is bound to no holder, so whoever copied it could show it")
        keys = await self._keys_of(claimed, own)
        audience = credential.Audience(own, wanted.nonce)
        shown = credential.verify(wanted.presentation, keys=keys, issuer=claimed.issuer, audience=audience, now=now_us / 1_000_000)
        if shown.holder is None or not self._shelf.drop_document(NONCE, place):  # of two who show the same, one takes the nonce away
            raise _refused("its nonce was answered already")
        said = {name: value for name, value in shown.claims.items() if name not in credential.OPEN}
        return {"issuer": shown.issuer, "kind": shown.kind, "holder": did.did_of(shown.holder), "claims": said, "ends_s": claimed.ends_s}

    async def _keys_of(self, claimed: credential.Contents, own: str) -> dict[str, PublicKey]:
        """The keys of who says to have issued it, where they are believed. Nothing is fetched for anybody else."""
        if claimed.issuer == own:
            return did.keys_of(own)
        entry = issuer_of(self._shelf, self._keyring, claimed.issuer)
        if entry is None:
            raise _refused("nobody here has named its issuer as one to believe", "omega credential trust DID --kind TYPE names one")
        if claimed.kind not in entry.kinds:
            raise _refused(
                "its issuer is believed, and not for credentials of this type", "omega credential show lists who is believed for what"
            )
        return await asyncio.to_thread(lambda: did.keys_of(checked_did(entry.did), self._documents()))

    def _signer(self, name: str) -> Signer:
        may_make_keys(self._settings)
        keys = open_keys(self._settings)
        return keys.signer(name) if keys.has(name) else keys.add(name)


@flow(name="begin-credentials", effect="write", needs="credentials:use")
async def begin_credentials(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make the keys for credentials; gives the names of this installation, as `issuer` and as `holder`."""
    return dict(await ctx.touch(Begin()))


@flow(name="issue-credential", effect="write", needs="credentials:use")
async def issue_credential(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Issue a credential; gives it with its issuer, its holder and its end in Unix seconds."""
    shown = tuple(str(each) for each in wanted["shown"])
    asked = {name: str(wanted[name]) for name in ("kind", "holder", "issuer")}
    return dict(await ctx.touch(Issue(claims=dict(wanted["claims"]), shown=shown, lasts_s=int(wanted["lasts_s"]), **asked)))


@flow(name="present-credential", effect="write", needs="credentials:use")
async def present_credential(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Show a credential to a verifier; gives the presentation."""
    asked = {name: str(wanted[name]) for name in ("credential", "audience", "nonce")}
    return dict(await ctx.touch(Present(disclosed=tuple(str(each) for each in wanted["disclosed"]), **asked)))


@flow(name="challenge-holder", effect="write", needs="credentials:use")
async def challenge_holder(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Give out a nonce; gives it with the name of this installation and the end of the nonce in Unix seconds."""
    return dict(await ctx.touch(Challenge()))


@flow(name="check-credential", effect="write", needs="credentials:use")
async def check_credential(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Verify what a holder shows; gives issuer, type, holder, end and the claims that are disclosed."""
    return dict(await ctx.touch(Check(presentation=str(wanted["presentation"]), nonce=str(wanted["nonce"]))))


def _web() -> did.Documents:
    from omega.adapters.did import WebDocuments  # TLS is loaded by those alone who look somebody up

    return WebDocuments()


def _place(nonce: str) -> str:
    return sha256(nonce.encode()).hexdigest()[:40]


def _ended(body: bytes, now_us: int) -> bool:
    return int(json.loads(body)["ends_s"]) * 1_000_000 <= now_us


def _refused(cause: str, advice: str = "") -> Denied:
    return Denied("OMG-T007", f"the credential is refused: {cause}", advice=advice)
