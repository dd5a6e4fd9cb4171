"""The gRPC binding for agents of others, beside the HTTP listener of an open house (`omega up --a2a-grpc PORT`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omega.gateway.a2a.grpc_listener import GrpcListener, GrpcPlace, Pem
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.adapters.certificates import Credentials
    from omega.gateway.front.core import App

CHAIN, KEY, BUNDLE = "chain.pem", "key.pem", "bundle.pem"
"""The files of a workload's certificate (`omega.adapters.certificates`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The PEM files that an operator named: without a certificate nothing is encrypted."""

    certificate: str = ""
    key: str = field(default="", repr=False)
    authorities: str = ""


async def listening(door: App, place: GrpcPlace, held: Credentials | None, files: Files, *, demand: bool) -> GrpcListener:
    """The listener at `place`, begun: with the certificate of the HTTP listener, and in front of the same door. `held` is this
    installation's own certificate, of which `demand` says whether clients must show one of the same authority.

    Raises InputError (OMG-X001) for an address or a file that cannot be had, or where grpcio is not installed.
    """
    if held is not None:
        place = replace(place, certificates=partial(_held, held.folder, demand=demand))
    elif files.certificate:
        place = replace(place, certificates=partial(_given, files))
    made = GrpcListener(door, place)
    await made.start()
    return made


def _held(folder: Path, *, demand: bool) -> Pem:
    """The certificate of this installation as it is now. Where none is demanded of clients none is asked for: gRPC knows no other."""
    return Pem(chain=_read(folder / CHAIN), key=_read(folder / KEY), authorities=_read(folder / BUNDLE) if demand else b"")


def _given(files: Files) -> Pem:
    """The files that the operator named. With client authorities a client certificate is demanded at this port."""
    chain = _read(Path(files.certificate))
    authorities = _read(Path(files.authorities)) if files.authorities else b""
    return Pem(chain=chain, key=_read(Path(files.key)) if files.key else chain, authorities=authorities)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError("OMG-X001", f"{path.name} cannot be read: {(error.strerror or type(error).__name__).lower()}") from error
