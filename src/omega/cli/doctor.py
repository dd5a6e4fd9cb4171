"""`omega doctor`: what is missing or wrong on this machine, and what to do about it."""

from __future__ import annotations

import click

from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, paint, plain
from omega.host.doctor import FAIL, WARN, examine


@click.command()
@click.option("--no-servers", is_flag=True, help="do not start the tool servers")
@common
@click.pass_obj
def doctor(session: Session, no_servers: bool) -> Answer:
    """Examine this installation: Python, folder, keys, policies, log, tool servers, left-over processes. Changes nothing."""
    found = list(examine(session.home, servers=not no_servers))
    lines = []
    for finding in found:
        lines.append(f"{paint(finding.state, 5)} {finding.what:<10} {plain(finding.text)}")
        if finding.advice:
            lines.append(f"{'':<17}do  {plain(finding.advice)}")
    failed = sum(finding.state == FAIL for finding in found)
    warned = sum(finding.state == WARN for finding in found)
    document = {"failed": failed, "warned": warned, "findings": [finding.record() for finding in found]}
    return Answer(document, lines, Exit.FAILED if failed else Exit.DONE)
