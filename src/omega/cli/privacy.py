"""What is kept, and what is destroyed: `privacy`, `erase`, `hold`. Each act is gated, and its leaves are the receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, count, fields, table
from omega.host.arrangements import all_arranged
from omega.host.asking import ask, forget, keep
from omega.host.disclosing import told_about
from omega.host.erasing import erase as erase_flow
from omega.host.holds import HOLD, release_hold
from omega.host.identity import Caller
from omega.host.levels import DETECTOR_NAMES, LEVEL, MEANING, RULES, Content, contents, levels
from omega.host.reading import Archive
from omega.host.regions import CONSENT, REGION, Region, home_of, region_of
from omega.host.searching import read_moment
from omega.host.settings import TENANT
from omega.kernel.errors import InputError, StorageError

_TENANT = click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="of whom")


@click.group()
def privacy() -> None:
    """Say how much of what is given and found is kept, by which rules, and where the log belongs."""


@privacy.command()
@click.argument("level", required=False, type=click.Choice([str(each) for each in MEANING]))
@_TENANT
@common
@click.pass_obj
def level(session: Session, level: str | None, tenant: str) -> Answer:
    """Set how much of a value is kept once its execution has ended, or show it. It holds for what begins from now on."""
    if level is not None:
        asyncio.run(keep(session.home, LEVEL, tenant, {"level": level}))
        return Answer({"tenant": tenant, "level": level}, [f"{tenant}   {MEANING[level]}"])
    found = _read(session, lambda archive: levels(archive.reader))
    shown = found or {tenant: "full"}
    return Answer(
        {"levels": {name: str(each) for name, each in shown.items()}},
        table([[n, str(e), MEANING[e]] for n, e in shown.items()], indent=""),
    )


@privacy.command()
@click.option("--path", "paths", multiple=True, metavar="PATH", help="taken out of every value: $.name, $.list[*].name, $..name; repeat it")
@click.option("--drop", multiple=True, metavar="PATH", help="no longer taken out; repeat it")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    type=click.Choice(DETECTOR_NAMES),
    help="only these look through text; repeat it",
)
@_TENANT
@common
@click.pass_obj
def rules(session: Session, paths: tuple[str, ...], drop: tuple[str, ...], detectors: tuple[str, ...], tenant: str) -> Answer:
    """Change the rules by which values are redacted, or show them. Fields that types mark as sensitive always go."""
    known = _read(session, lambda archive: contents(archive.reader).get(tenant)) or Content()
    if paths or drop or detectors:
        left = [path for path in known.paths if path not in drop]
        known = Content(tuple(dict.fromkeys([*left, *paths])), detectors or known.detectors)
        asyncio.run(keep(session.home, RULES, tenant, known.record()))
    said = [("paths", ", ".join(known.paths) or "none"), ("detectors", ", ".join(known.detectors) or "none")]
    return Answer({"tenant": tenant, **known.record()}, [tenant, *fields(said)])


@privacy.command()
@click.argument("region", required=False, type=click.Choice([str(each) for each in Region]))
@_TENANT
@common
@click.pass_obj
def region(session: Session, region: str | None, tenant: str) -> Answer:
    """Say in which region a log belongs, or show it: it is exported elsewhere only with a consent."""
    if region is not None:
        asyncio.run(keep(session.home, REGION, tenant, {"region": region}))
    home = region or _read(session, lambda archive: home_of(archive.reader, tenant)) or ""
    return Answer({"tenant": tenant, "region": home}, [f"{tenant}   {home or 'belongs nowhere in particular'}"])


@privacy.command()
@click.option("--to", "to", required=True, type=click.Choice([str(each) for each in Region]))
@click.option("--reason", help="why the log may go there")
@click.option("--withdraw", is_flag=True, help="take the consent back")
@_TENANT
@common
@click.pass_obj
def consent(session: Session, to: str, reason: str | None, withdraw: bool, tenant: str) -> Answer:
    """Agree, on record, that a log is exported to another region; or take that back."""
    name = f"{tenant}.{region_of(to)}"
    if withdraw:
        asyncio.run(forget(session.home, CONSENT, name))
        return Answer({"tenant": tenant, "to": to, "consent": None}, [f"{tenant}   no longer goes to {to}"])
    if reason is None:
        raise InputError("OMG-X001", "a consent says why", advice="omega privacy consent --to REGION --reason TEXT")
    asyncio.run(keep(session.home, CONSENT, name, {"reason": reason}))
    return Answer({"tenant": tenant, "to": to, "consent": reason}, [f"{tenant}   may go to {to}: {reason}"])


@privacy.command()
@click.argument("subject", metavar="NAME")
@common
@click.pass_obj
def about(session: Session, subject: str) -> Answer:
    """Show everything that is held about a person, account or thing, for them to have. That it was looked is on record."""
    found = asyncio.run(told_about(session.home, subject))
    rows = [["executions", str(len(found["executions"]))]] + [[name, str(len(each))] for name, each in found["features"].items()]
    lines = table(rows, indent="")
    lines += [f"not searched: {name} has tables and does not say how people are found in them" for name in found["unsaid"]]
    return Answer(found, [*lines, "with --json: what it is"])


@click.command()
@click.option("--subject", metavar="NAME", help="everything that is about this person, account or thing")
@click.option("--execution", "executions", multiple=True, metavar="ID", help="this execution with its forks and children; repeat it")
@click.option("--before", metavar="TIME", help='what ended before: "30d" ago, or a moment')
@click.option("--yes", is_flag=True, help="do it: what is erased is gone")
@common
@click.pass_obj
def erase(session: Session, subject: str | None, executions: tuple[str, ...], before: str | None, yes: bool) -> Answer:
    """Destroy payloads and keys; rows, digests and leaves stay, and every proof still verifies."""
    if sum(map(bool, (subject, executions, before))) != 1:
        raise InputError("OMG-X001", "say what: --subject NAME, --execution ID or --before TIME", advice="omega erase --help")
    if not yes:
        raise InputError("OMG-X001", "what is erased is gone: nobody can bring it back", advice="add --yes when that is meant")
    with Archive.open(session.home) as archive:
        now_us, keyring = archive.world.clock.now_us(), archive.identity.keyring
    wanted: dict[str, Any] = {"executions": list(executions)}
    if subject:
        wanted = {"mark": keyring.subject(TENANT, subject)}  # the receipt must not bring back who it was about
    elif before:
        wanted = {"ended_before_us": read_moment(before, now_us)}
    done = asyncio.run(ask(session.home, erase_flow, wanted))
    lines = [f"erased {count(done['erased'], 'execution')}"]
    lines += [f"erased {each['erased']:,} of what {name} keeps" for name, each in done["features"].items() if each["erased"]]
    lines += [f"left {each['left']:,} of what {name} keeps: to be revoked first" for name, each in done["features"].items() if each["left"]]
    lines += [f"not searched: {name} has tables and does not say how people are found in them" for name in done["unsaid"]]
    lines += [f"left {count(done['left'], 'execution')} that did not end yet: {', '.join(done['waiting'])}"] if done["left"] else []
    return Answer(done, lines)


@click.group()
def hold() -> None:
    """Place and release legal holds: while one stands, nothing of its tenant is destroyed."""


@hold.command("set")
@click.option("--reason", required=True, help="why nothing may be destroyed")
@_TENANT
@common
@click.pass_obj
def set_hold(session: Session, reason: str, tenant: str) -> Answer:
    """Place a hold."""
    asyncio.run(keep(session.home, HOLD, tenant, {"reason": reason}))
    return Answer({"tenant": tenant, "reason": reason}, [f"{tenant}   nothing is destroyed: {reason}"])


@hold.command("release")
@click.option("--as", "principal", metavar="person:NAME", default="", help="who releases it; else the owner")
@_TENANT
@common
@click.pass_obj
def release(session: Session, principal: str, tenant: str) -> Answer:
    """Release a hold: it is gone once two different people have."""
    caller = Caller(principal, ("owner",)) if principal else Caller()
    done = asyncio.run(ask(session.home, release_hold, tenant, caller))
    said = "released" if done["released"] else f"released by {', '.join(done['by'])}; another person has to as well"
    return Answer({"tenant": tenant, **done}, [f"{tenant}   {said}"])


@hold.command("list")
@common
@click.pass_obj
def list_holds(session: Session) -> Answer:
    """List the holds that stand."""
    found: Mapping[str, dict[str, Any]] = _read(session, lambda archive: all_arranged(archive.reader, HOLD)) or {}
    rows = [
        [name, body["reason"], f"released by {', '.join(body['released_by'])}" if body.get("released_by") else ""]
        for name, body in found.items()
    ]
    return Answer({"holds": [{"tenant": name, **body} for name, body in found.items()]}, table(rows, indent="") or ["no hold stands"])


def _read(session: Session, look: Any) -> Any:
    """What `look` finds in the archive; None where nothing is recorded yet."""
    try:
        with Archive.open(session.home) as archive:
            return look(archive)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        return None
