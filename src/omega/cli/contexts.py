"""Where a command is carried out: on this machine, or at a remote installation that somebody signed in to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from omega.cli.output import Session
from omega.client.contexts import Context, Contexts
from omega.host.settings import Settings
from omega.kernel.errors import InputError

CONTEXT = "OMEGA_CONTEXT"
"""The variable that names a context for one command or one shell."""


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a remote installation is chosen."""
    for option in (
        click.option("--environment", default="", metavar="NAME", help="the context that is for this environment"),
        click.option("--tenant", default="", metavar="NAME", help="the context that is for this tenant"),
    ):
        command = option(command)
    return command


def contexts_of(session: Session) -> Contexts:
    """The contexts of the data folder."""
    return Contexts(Path(Settings.load(session.home).home))


def place(session: Session, *, tenant: str = "", environment: str = "") -> tuple[str, Context] | None:
    """The context that --local, --context, `tenant` and `environment`, OMEGA_CONTEXT or `omega context use` choose, in this order; None for
    this machine. Raises InputError (OMG-X011, OMG-X001), StorageError (OMG-S002, OMG-S003, OMG-T003) for what is kept of contexts.
    """
    if session.local:
        if session.context or tenant or environment:
            raise InputError("OMG-X001", "--local and another place are both given", advice="leave one of them out")
        return None
    name = session.context or ("" if tenant or environment else os.environ.get(CONTEXT, ""))
    return contexts_of(session).chosen(name, tenant=tenant, environment=environment)
