"""`omega secrets`: the secrets that tool servers are given, their age and use; never a value."""

from __future__ import annotations

import asyncio
import sys

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, ago, count, plain, table
from omega.host import secret_ages as verbs
from omega.host.clock import SystemClock
from omega.host.inputs import read_duration

OLD = f"{verbs.OLD_S // 86_400}d"


@click.group()
def secrets() -> None:
    """Secrets for tool servers: list them with their age and last use, rotate one."""


@secrets.command("list")
@click.option("--older", default=OLD, show_default=True, metavar="TIME", help="warn of secrets that are older")
@common
@click.pass_obj
def list_secrets(session: Session, older: str) -> Answer:
    """List every secret: whose it is, when it was left, when it was last given to which server, and for whom."""
    found = verbs.listed(session.home, old_s=read_duration(older) or verbs.OLD_S)
    now_us = SystemClock().now_us()
    lines = table([_row(each, now_us) for each in found], indent="") or ["no secret is kept here, and no server was given one"]
    old = [each for each in found if each.old]
    if old:
        lines.append(f"warn   {count(len(old), 'secret')} older than {older}: omega secrets rotate NAME")
    return Answer({"secrets": [each.record() for each in found], "old": len(old)}, lines)


@secrets.command("rotate")
@click.argument("name")
@click.option("--for", "principal", default="", metavar="WHO", help="whose it is: person:NAME or agent:NAME  [default: the owner]")
@common
@click.pass_obj
def rotate_secret(session: Session, name: str, principal: str) -> Answer:
    """Put a new secret, read from standard input, in the place of the one called NAME. Sessions that begin from now on get it."""
    secret = sys.stdin.readline().rstrip("\r\n")
    whose = asyncio.run(verbs.rotate(session.home, name, secret, principal=principal))
    return Answer({"secret": name, "for": whose}, [f"rotated   {plain(name)}   of {plain(whose)}"])


def _row(secret: verbs.Aged, now_us: int) -> list[str]:
    age = f"left {ago(secret.set_us, now_us)}" if secret.set_us else "age unknown" if secret.kept else "not kept here"
    used = f"given {ago(secret.used_us, now_us)} to {secret.server} for {secret.used_by}" if secret.used_us else "never given"
    return [plain(secret.name), plain(secret.tenant), plain(secret.principal), age + (" (old)" if secret.old else ""), plain(used)]
