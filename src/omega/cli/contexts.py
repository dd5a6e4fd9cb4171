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

CONTEXT = "OMEGA_CONTEXT"
"""The variable that names a context for one command or one shell."""


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a remote installation is chosen."""
    for option in (
        click.option("--environment", default="", metavar="NAME", help="the context that is for this environment"),
        click.option("--tenant", default="", metavar="NAME", help="the context that is for this tenant"),
        click.option("--context", default="", metavar="NAME", help="a remote installation that you signed in to; `here` for this machine"),
    ):
        command = option(command)
    return command


def contexts_of(session: Session) -> Contexts:
    """The contexts of the data folder."""
    return Contexts(Path(Settings.load(session.home).home))


def choose(session: Session, options: dict[str, Any]) -> tuple[str, Context] | None:
    """The context that the options (which are taken out), OMEGA_CONTEXT, or `omega context use` choose; None for this machine.

    Raises InputError (OMG-X011).
    """
    context, tenant, environment = (str(options.pop(each, "")) for each in ("context", "tenant", "environment"))
    name = context or ("" if tenant or environment else os.environ.get(CONTEXT, ""))
    return contexts_of(session).chosen(name, tenant=tenant, environment=environment)
