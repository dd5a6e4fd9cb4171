"""Remote installations: `omega login`, `omega logout`, `omega context`, and calls that are made there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from omega.cli.commands import common
from omega.cli.contexts import contexts_of
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, fields, input_lines, paint, table, value_lines
from omega.client import Client, Context
from omega.client.client import TIMEOUT_S
from omega.client.contexts import HERE
from omega.client.credentials import ends
from omega.client.transport import checked_address
from omega.host.inputs import field_value, fields_of, is_object, pair_of, read_duration, read_value, whole_value
from omega.kernel.errors import InputError

API_KEY = "omk_"
MAX_CREDENTIAL = 16_384

T = TypeVar("T")


def at(session: Session, found: tuple[str, Context], work: Callable[[Client], Awaitable[T]], *, timeout_s: float | None = None) -> T:
    """What `work` gives with a client of that context. Raises OmegaError."""
    name, context = found

    async def main() -> T:
        credentials = contexts_of(session).credentials(name, context)
        async with Client(context.address, credentials, timeout_s=timeout_s or TIMEOUT_S) as client:
            return await work(client)

    return asyncio.run(main())


def call_there(
    session: Session, found: tuple[str, Context], method: str, given: Sequence[str], whole: str | None, *, help_input: bool, options: Any
) -> Answer:
    """Call a method at a remote installation, or say what it takes. Raises InputError (OMG-X001) for options that only this machine has."""
    local = [name for name in ("execution", "principal", "groups", "grants", "budget") if options.get(name)]
    if local:
        raise InputError("OMG-X001", f"--{local[0].rstrip('s')} is for calls on this machine", advice="add --context here")
    timeout_s = read_duration(options.get("timeout"))

    async def work(client: Client) -> Answer:
        schema = _schema(await client.services(), method)
        if help_input:
            return Answer({"method": method, "schema": schema}, input_lines(fields_of(schema)) or ["  no input"])
        result = await client.call(method, _input(schema, given, whole), timeout_s=timeout_s)
        document = {"context": found[0], "method": method, "status": "done", "value": result}
        return Answer(document, [*value_lines(result), f"{paint('done')}   at {found[0]}"])

    return at(session, found, work, timeout_s=timeout_s)


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


def services_there(session: Session, found: tuple[str, Context]) -> Answer:
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


@click.group()
def context() -> None:
    """List the installations you signed in to, and choose one."""


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
