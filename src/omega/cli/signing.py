"""`omega sign-in`: another link by which a browser signs in to the installation that is at work."""

from __future__ import annotations

import asyncio

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, plain


@click.command("sign-in")
@common
@click.pass_obj
def sign_in(session: Session) -> Answer:
    """Print a link by which one browser signs in as the owner, once, within ten minutes. `omega up` prints the first one itself."""
    from omega.host.inviting import invited

    link = asyncio.run(invited(session.home))
    return Answer({"sign_in": link}, [plain(link)])
