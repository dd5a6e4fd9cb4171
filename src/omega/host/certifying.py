"""Verbs about the certificate authority of an installation. What changes it goes down the road, so that who did it is in the log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from omega.host import workload as authority
from omega.host.admitting import WORKLOAD, Entry, name_of
from omega.host.asking import forget, keep
from omega.host.embedded import Omega
from omega.host.reading import Archive
from omega.host.settings import Settings
from omega.host.storage import may_make_keys
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, from_record
from omega.kernel.ports import Call
from omega.kernel.verdict import Permit

ACTS = ("establish", "renew", "trust", "distrust", "certify")
MAX_TEXT = 256 << 10
"""Longest list of roots that is taken in at once, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Request):
    """Change the authority, or certify a workload: `act` is one of `ACTS`, `text` the roots, an address or a workload's name."""

    port: ClassVar[str] = "certificates"
    act: str
    text: str = ""
    folder: str = ""
    hosts: tuple[str, ...] = ()


class CertificatesEffector:
    """Serves `Change` for the installation of `settings`."""

    port = Change.port

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._omega: Omega | None = None

    def serve(self, omega: Omega) -> None:
        """Take the time from `omega` from now on."""
        self._omega = omega

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what changed as data: never a key. Raises InputError (OMG-X001), Denied (OMG-T010), StorageError (OMG-T003)."""
        permit.spend(self.port)
        if not isinstance(request, Change) or self._omega is None:
            raise InputError("OMG-X001", f"an authority is changed, there is no {type(request).__name__}")
        return self._changed(request, self._omega.world.clock.now_us() / 1_000_000), Receipt()

    def _changed(self, wanted: Change, now_s: float) -> dict[str, Any]:
        settings = self._settings
        if wanted.act == "certify":
            return _certified(settings, wanted, now_s)
        if wanted.act == "establish":
            authority.establish(settings, now_s, root_at=wanted.text)
        elif wanted.act == "renew":
            authority.renew_issuer(settings, now_s)
        elif wanted.act == "trust":
            authority.trust(settings, wanted.text.encode())
        elif wanted.act == "distrust":
            authority.distrust(settings, wanted.text.encode())
        else:
            raise InputError("OMG-X001", f"{wanted.act[:40]!r} is nothing to do with an authority (known: {', '.join(ACTS)})")
        return told(settings)


@flow(name="change-certificates", effect="write", needs="certificates:use")
async def change_certificates(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Change the certificate authority of the installation, or certify a workload; gives what it is then."""
    hosts = tuple(str(each) for each in wanted.get("hosts", ()))
    request = Change(act=str(wanted["act"]), text=str(wanted.get("text", "")), folder=str(wanted.get("folder", "")), hosts=hosts)
    return dict(await ctx.touch(request))


async def change(home: str | os.PathLike[str] | None, act: str, text: str = "") -> dict[str, Any]:
    """Establish the authority, renew its issuer, or change the bundle. Raises InputError (OMG-X001), Denied, StorageError."""
    if len(text) > MAX_TEXT:
        raise InputError("OMG-X001", f"a list of roots has at most {MAX_TEXT:,} characters")
    return await _called(home, {"act": act, "text": text})


async def certify(home: str | os.PathLike[str] | None, workload: str, folder: Path, hosts: Sequence[str]) -> dict[str, Any]:
    """Write certificate, key and bundle of `workload` to `folder`. Raises what `change` raises."""
    return await _called(home, {"act": "certify", "text": workload, "folder": str(folder), "hosts": list(hosts)})


def shown(home: str | os.PathLike[str] | None) -> dict[str, Any]:
    """The authority as data. Raises InputError (OMG-X001) when there is none, StorageError (OMG-T003)."""
    return told(Settings.load(home))


def told(settings: Settings) -> dict[str, Any]:
    """The same, of these settings."""
    found = authority.standing(settings)
    roots = [{"fingerprint": fingerprint, "ends_s": ends} for fingerprint, ends in map(authority.described, found.roots)]
    return {"domain": found.domain, "issuer_ends_s": found.issuer_ends_s, "root_key_here": found.root_here, "roots": roots}


async def admit(home: str | os.PathLike[str] | None, workload: str, *, groups: Sequence[str], capabilities: Sequence[str]) -> Entry:
    """Let the workload of that SPIFFE id in, on record; gives as whom. Raises InputError (OMG-I001), Denied (OMG-T010), StorageError."""
    with Archive.open(home) as archive:
        entry = Entry(workload=workload, tenant=archive.settings.tenant, groups=tuple(groups), capabilities=tuple(capabilities))
        body = entry.seal(archive.identity.keyring)
    await keep(home, WORKLOAD, name_of(workload), body)
    return entry


async def shut_out(home: str | os.PathLike[str] | None, workload: str) -> None:
    """Take an entry back, on record. Raises InputError (OMG-I003) when there is none."""
    await forget(home, WORKLOAD, name_of(workload))


async def _called(home: str | os.PathLike[str] | None, value: dict[str, Any]) -> dict[str, Any]:
    settings = Settings.load(home)
    may_make_keys(settings)
    effector = CertificatesEffector(settings)
    async with Omega.open(home, effectors=[effector]) as omega:
        effector.serve(omega)
        outcome = await omega.road.call(Call(passport=omega.passport(), flow=change_certificates, input=value))
    if outcome.error is not None:
        raise from_record(outcome.error)
    return dict(outcome.value)


def _certified(settings: Settings, wanted: Change, now_s: float) -> dict[str, Any]:
    try:
        made = authority.credentials(settings, wanted.text, hosts=wanted.hosts, folder=Path(wanted.folder), now=lambda: now_s)
        chain = (made.folder / "chain.pem").read_bytes()
    except OSError as error:
        raise InputError("OMG-P005", f"{wanted.folder} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    name = f"spiffe://{authority.trust_domain()}/{wanted.text}"
    return {"workload": name, "ends_s": made.ends_s, "chain_sha256": sha256(chain).hexdigest()}
