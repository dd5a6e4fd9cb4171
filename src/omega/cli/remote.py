"""Remote installations: `omega login`, `omega logout`, `omega context`, and calls that are made there."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from omega.cli.commands import common
from omega.cli.contexts import contexts_of, place
from omega.cli.ending import ended
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, fields, input_lines, note, seconds, table
from omega.client import Client, Context
from omega.client.client import LONGEST_WAIT_S, TIMEOUT_S, UNDER_WAY
from omega.client.contexts import HERE
from omega.client.credentials import ends
from omega.client.failures import of_problem, unreachable
from omega.client.transport import checked_address
from omega.host.inputs import field_value, fields_of, is_object, pair_of, read_duration, read_value, whole_value
from omega.host.targets import SERVICE
from omega.kernel.errors import InputError
from omega.kernel.ports import Outcome

API_KEY = "omk_"
MAX_CREDENTIAL = 16_384

LOCAL = {
    "execution": "id",
    "principal": "as",
    "groups": "group",
    "grants": "grant",
    "budget": "budget",
    "queue": "queue",
    "delay": "in",
    "start_at": "at",
    "key": "key",
    "priority": "priority",
    "labels": "label",
    "wait": "wait",
}
"""Options that only this machine has, as they are called here and as they are typed."""

Found = tuple[str, Context]
T = TypeVar("T")


def at(session: Session, found: Found, work: Callable[[Client], Awaitable[T]], *, timeout_s: float | None = None) -> T:
    """What `work` gives with a client of that context. Raises OmegaError."""
    name, context = found

    async def main() -> T:
        credentials = contexts_of(session).credentials(name, context)
        async with Client(context.address, credentials, timeout_s=timeout_s or TIMEOUT_S) as client:
            return await work(client)

    return asyncio.run(main())


def call_there(
    session: Session, found: Found, method: str, given: Sequence[str], whole: str | None, *, help_input: bool, options: Any
) -> Answer:
    """Call a method at a remote installation, or say what it takes. Raises InputError (OMG-X001) for options that only this machine has."""
    timeout_s = _timeout(options)

    async def work(client: Client) -> Answer:
        schema = _schema(await client.services(), method)
        if help_input:
            return Answer({"method": method, "schema": schema}, input_lines(fields_of(schema)) or ["  no input"])
        execution = await client.begin(method, _input(schema, given, whole))
        facts = {"context": found[0], "method": method, "target": f"{SERVICE}{method}"}
        return await _awaited(client, found, execution, facts, timeout_s)

    return at(session, found, work, timeout_s=timeout_s)


def run_there(
    session: Session, found: Found, target: str, given: Sequence[str], whole: str | None, *, help_input: bool, options: Any
) -> Answer | None:
    """Run a flow that is put up at a remote installation, or a method of a service. None for a target that is neither there, and is run on
    this machine, which is said. Raises InputError (OMG-I002) for one that --context asks to be run there."""
    if target.startswith(SERVICE):
        return call_there(session, found, target.removeprefix(SERVICE), given, whole, help_input=help_input, options=options)

    async def work(client: Client) -> Answer | None:
        known = {str(flow["name"]): flow for flow in await client.flows()}
        if target not in known:
            return None
        timeout_s, schema = _timeout(options), known[target]["input"]
        if help_input:
            return Answer({"flow": target, "version": known[target]["version"], "schema": schema}, input_lines(fields_of(schema)))
        execution = await client.begin_flow(target, _input(schema, given, whole))
        return await _awaited(client, found, execution, {"context": found[0], "target": target}, timeout_s)

    told = at(session, found, work)
    if told is None:
        if session.context:
            raise InputError("OMG-I002", f"no flow {target[:80]!r} is put up at {found[0]}", advice="add --local to run it on this machine")
        note(f"no flow {target[:80]!r} is put up at {found[0]}: it is run on this machine   to say so: --local")
    return told


async def _awaited(client: Client, found: Found, execution: str, facts: dict[str, Any], timeout_s: float | None) -> Answer:
    """How an execution there ended or stands, told as `omega run` tells it. Raises UpstreamError (OMG-X010) when it takes too long."""
    until = time.monotonic() + (timeout_s or TIMEOUT_S)
    while True:
        told = await client.outcome(execution, wait_s=max(0, min(LONGEST_WAIT_S, int(until - time.monotonic()))))
        if told["status"] not in UNDER_WAY:
            break
        if time.monotonic() >= until:
            raise unreachable(f"has not ended {execution} in time", execution=execution)
    line = await client.execution(execution)
    outcome = Outcome(
        execution=execution,
        status=str(told["status"]),
        value=told.get("value"),
        error=of_problem(500, told["error"]).record() if "error" in told else None,
        tenant=found[1].tenant,
        cost_micros=int(told.get("cost_micros", 0)),
    )
    facts = {"flow": line["flow"], "version": line["version"], **facts}
    return ended(outcome, facts, f"at {found[0]}   {seconds(line['took_s'])}")


def _timeout(options: Mapping[str, Any]) -> float | None:
    """How long a call may take, in seconds. Raises InputError (OMG-X001) for options that only this machine has."""
    local = next((name for name in LOCAL if options.get(name)), None)
    if local is not None:
        raise InputError("OMG-X001", f"--{LOCAL[local]} is for calls on this machine", advice="add --local")
    return read_duration(options.get("timeout"))


def _schema(services: Sequence[Mapping[str, Any]], method: str) -> Mapping[str, Any]:
    """The input of a method, as its installation describes it. Raises InputError (OMG-I002)."""
    known = {f"{service['name']}.{each['name']}": each["input"] for service in services for each in service["methods"]}
    if method not in known:
        raise InputError("OMG-I002", f"there is no method {method[:80]!r} there", advice="omega call lists what is installed")
    found: Mapping[str, Any] = known[method]
    return found


def _input(schema: Mapping[str, Any], given: Sequence[str], whole: str | None) -> Any:
    """The input as it was typed; the installation checks it. Raises InputError (OMG-I001, OMG-X001)."""
    if whole is not None:
        if given:
            raise InputError("OMG-X001", "the input is given twice: as --input and as --input-json")
        return whole_value(whole)
    if not given:
        return {} if is_object(schema) else None
    if not is_object(schema):
        return read_value(pair_of(given[0])[1] if "=" in given[0] else given[0])
    properties = schema.get("properties", {})
    return {name: field_value(properties.get(name, {}), schema, text) for name, text in map(pair_of, given)}


def services_there(session: Session, found: Found) -> Answer:
    """List what is installed at a remote installation."""
    services = at(session, found, lambda client: client.services())
    rows = [[f"{each['name']}.{method['name']}", method["effect"], method["summary"]] for each in services for method in each["methods"]]
    return Answer({"context": found[0], "services": services}, table(rows, indent="") or ["no service is installed"])


@click.command()
@click.argument("url")
@click.option("--name", default="", metavar="NAME", help="what to call it (default: the host)")
@click.option("--environment", default="", metavar="NAME", help="the environment that it is for, to choose it by")
@click.option("--credential", type=click.File("r"), help="a file with the API key or passport, - for standard input (default: ask)")
@common
@click.pass_obj
def login(session: Session, /, url: str, name: str, environment: str, credential: Any) -> Answer:
    """Sign in to a remote installation with an API key or a passport; later commands are made there until `omega context use here`.

    What you give is kept in OMEGA_HOME, for you alone, once the installation has accepted it.
    """
    address = checked_address(url)
    name = name or (urlsplit(address).hostname or "").replace(":", ".").lower()
    given = _credential(credential)
    kept = contexts_of(session)
    key = given if given.startswith(API_KEY) else ""
    context = Context(address=address, environment=environment, key=key, passport="" if key else given, until_s=0.0 if key else ends(given))
    me = at(session, (name, context), lambda client: client.me())
    kept.keep(name, replace(context, tenant=str(me["tenant"])))
    document = {"context": name, "address": address, "tenant": me["tenant"], "principal": me["principal"]}
    told = fields([("at", address), ("as", str(me["principal"])), ("tenant", str(me["tenant"])), ("back", "omega context use here")])
    return Answer(document, [f"signed in to {name}", *(f"  {line}" for line in told)])


@click.command()
@click.argument("name")
@common
@click.pass_obj
def logout(session: Session, name: str) -> Answer:
    """Forget a remote installation and what you signed in with."""
    contexts_of(session).forget(name)
    return Answer({"context": name, "removed": True}, [f"{name}   forgotten"])


@click.group(invoke_without_command=True)
@common
@click.pass_context
def context(ctx: click.Context) -> Answer | None:
    """Say where commands are made; list the installations you signed in to, and choose one."""
    return None if ctx.invoked_subcommand else _where(ctx.ensure_object(Session))


def _where(session: Session) -> Answer:
    """Where commands are made as things stand. Nothing is asked of anybody."""
    found = place(session)
    if found is None:
        return Answer({"context": HERE, "address": "", "tenant": "", "environment": ""}, ["commands are made on this machine"])
    name, known = found
    document = {"context": name, "address": known.address, "tenant": known.tenant, "environment": known.environment}
    told = fields([("at", known.address), ("tenant", known.tenant), ("here", "--local, or omega context use here")])
    return Answer(document, [f"commands are made at {name}", *(f"  {line}" for line in told)])


@context.command("list")
@common
@click.pass_obj
def list_contexts(session: Session) -> Answer:
    """List the contexts; the current one is marked."""
    current, known = contexts_of(session).read()
    rows = [["*" if not current else " ", HERE, "", "", "this machine"]]
    rows += [["*" if name == current else " ", name, each.tenant, each.environment, each.address] for name, each in sorted(known.items())]
    told = [{"name": name, "address": each.address, "tenant": each.tenant, "environment": each.environment} for name, each in known.items()]
    return Answer({"current": current or HERE, "contexts": told}, table(rows, indent=""))


@context.command("use")
@click.argument("name")
@common
@click.pass_obj
def use_context(session: Session, name: str) -> Answer:
    """Make commands at NAME from now on; `here` for this machine."""
    contexts_of(session).use("" if name == HERE else name)
    return Answer({"current": name}, [f"commands are made {'on this machine' if name == HERE else f'at {name}'}"], Exit.DONE)


def _credential(file: Any) -> str:
    """The API key or passport, from a file or from the keyboard without an echo. Raises InputError (OMG-X001)."""
    if file is None:
        if not sys.stdin.isatty():
            raise InputError(
                "OMG-X001", "there is nobody to ask for a key", advice="omega login URL --credential FILE, or - for standard input"
            )
        file_text = str(click.prompt("API key or passport", hide_input=True, err=True))
    else:
        file_text = str(file.read(MAX_CREDENTIAL))
    given = file_text.strip()
    if not given or not given.isascii() or not given.isprintable() or " " in given:
        raise InputError("OMG-X001", "that is neither an API key nor a passport")
    return given
