"""`omega models`: which models and routes are known, what they cost, and who may spend how much on them.

Everything here is a call of the service `models`, on record. What is kept about each kind, and what has no command of its own (caches,
cases, the finer fields of a provider), is on docs/models.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.commands import anywhere
from omega.cli.desks import Desk, desk_of
from omega.cli.output import Answer, Session, count, money, plain, table
from omega.host.account import moment
from omega.host.clock import SystemClock
from omega.kernel.errors import InputError

INTERFACES = ("openai", "anthropic")
KINDS = ("chat", "embeddings")
ORDERS = ("given", "cost", "latency", "quality")
WINDOWS = ("hour", "day", "month")
DATE = 10
"""Characters of a date, the beginning of a moment."""

MICROS = 1_000_000
"""Millionths in one US dollar."""


@click.group()
def models() -> None:
    """List, add and remove models and routes; say who may spend how much on them."""


@models.command("list")
@anywhere
@click.pass_obj
def list_models(session: Session) -> Answer:
    """List the models with their prices and how they do, the routes, and the allowances."""
    found, idle, allowances = asyncio.run(_known(session))
    routes = [each for each in found if each["kind"] == "route"]
    single = [each for each in found if each["kind"] != "route"]
    lines = table([_row(each) for each in single], indent="")
    lines += table([[each["name"], "cannot be asked", each["why"]] for each in idle], indent="")
    lines += table([[each["name"], f"route by {each['order']}", ", ".join(each["models"])] for each in routes], indent="")
    lines += table([[name, _whose(each), _amount(each)] for name, each in allowances.items()], indent="")
    if not single and not idle:
        lines.insert(0, "no model is known: omega models add NAME --url URL --model MODEL")
    document = {
        "models": single,
        "idle": idle,
        "routes": routes,
        "allowances": [{"name": name, **each} for name, each in allowances.items()],
    }
    return Answer(document, lines)


@models.command("add")
@click.argument("name")
@click.option("--url", default="", metavar="URL", help="where its provider answers: http://127.0.0.1:11434/v1")
@click.option("--provider", default="", metavar="NAME", help="a provider that is kept already, or what to call the one at --url")
@click.option("--model", default="", metavar="MODEL", help="what the provider calls it  [default: NAME]")
@click.option("--interface", type=click.Choice(INTERFACES), default="openai", show_default=True, help="what the provider speaks")
@click.option("--key", default="", metavar="env:NAME", help="the provider's key, by reference; never the key itself")
@click.option("--kind", type=click.Choice(KINDS), default="chat", show_default=True, help="what it makes")
@click.option("--price", nargs=2, metavar="INPUT OUTPUT", help="US dollars per million tokens read and written  [default: the price list]")
@click.option("--quality", type=click.FloatRange(0, 1), help="your judgement, for routes by quality")
@click.option("--default", "is_default", is_flag=True, help="let it answer questions that name no model")
@anywhere
@click.pass_obj
def add_model(session: Session, /, name: str, **given: Any) -> Answer:
    """Know a model under NAME, and the provider at --url; in place of what was kept under the same names."""
    source, model = _records(name, given)
    return asyncio.run(_added(session, name, source, model, is_default=bool(given["is_default"])))


@models.command("route")
@click.argument("name")
@click.argument("members", metavar="MODEL...", nargs=-1, required=True)
@click.option("--order", type=click.Choice(ORDERS), default="given", show_default=True, help="who is asked first")
@anywhere
@click.pass_obj
def add_route(session: Session, name: str, members: tuple[str, ...], order: str) -> Answer:
    """Let NAME stand for several models: the next is asked when one fails. The route `default` answers questions that name none."""
    body = asyncio.run(_kept(session, "route", name, {"models": list(members), "order": order}))
    return Answer({"route": name, **body}, [f"{name}   route by {order}   {', '.join(members)}"])


@models.command("allow")
@click.argument("who", metavar="agent:NAME|person:NAME|tenant|*")
@click.option("--tokens", type=click.IntRange(0), help="at most so many tokens")
@click.option("--usd", type=click.FloatRange(0), metavar="DOLLARS", help="at most so much money")
@click.option("--window", type=click.Choice(WINDOWS), default="day", show_default=True, help="in each one, of the calendar in UTC")
@click.option("--name", default="", metavar="NAME", help="what to call it  [default: made of WHO and the window]")
@anywhere
@click.pass_obj
def allow(session: Session, /, who: str, tokens: int | None, usd: float | None, window: str, name: str) -> Answer:
    """Say what WHO may spend on models; `*` is each caller by itself, `tenant` all together."""
    if tokens is None and usd is None:
        raise InputError("OMG-X001", "an allowance limits tokens, money or both", advice="add --tokens NUMBER or --usd DOLLARS")
    cost = None if usd is None else round(usd * MICROS)
    body = {"who": who, "window": window} | {word: each for word, each in (("tokens", tokens), ("cost_micros", cost)) if each is not None}
    name = name or f"{'everybody' if who == '*' else who.replace(':', '.')}-{window}"
    kept = asyncio.run(_kept(session, "allowance", name, body))
    return Answer({"allowance": name, **kept}, [f"{name}   {_whose(kept)}   {_amount(kept)}"])


@models.command("remove")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["model", "route", "provider", "allowance"]), default="model", show_default=True, help="what it is"
)
@anywhere
@click.pass_obj
def remove(session: Session, name: str, kind: str) -> Answer:
    """Forget a model, a route, a provider or an allowance."""
    asyncio.run(_kept(session, kind, name, None))
    return Answer({kind: name, "removed": True}, [f"{name}   removed"])


async def _known(session: Session) -> tuple[list[dict[str, Any]], list[dict[str, str]], dict[str, dict[str, Any]]]:
    """What may be named, what is kept and cannot be asked (with the reason), and the allowances."""
    async with desk_of(session) as at:
        found = await at.ask("models.list", {})
        kept, sources = await at.ask("models.kept", {"kind": "model"}), await at.ask("models.kept", {"kind": "provider"})
        allowances: dict[str, dict[str, Any]] = await at.ask("models.kept", {"kind": "allowance"})
    known = {each["name"] for each in found}
    idle = [{"name": name, "why": _why(each, sources)} for name, each in sorted(kept.items()) if name not in known]
    return found, idle, allowances


def _why(model: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a model that is kept cannot be asked."""
    source = sources.get(str(model["provider"]))
    if source is None:
        return f"its provider {model['provider']} is not kept"
    return f"{source['key']} is not set where the engine runs" if source.get("key") else "it is for other tenants"


async def _kept(session: Session, kind: str, name: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    async with desk_of(session) as at:
        return await _keep(at, kind, name, body)


async def _keep(at: Desk, kind: str, name: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    return await at.ask("models.keep", {"kind": kind, "name": name, "body": body if body is None else dict(body)}) or {}


def _records(name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The record of the provider (None: it is kept already), and that of the model. Raises InputError (OMG-X001)."""
    if not given["url"] and not given["provider"]:
        raise InputError("OMG-X001", "a model needs its provider", advice="add --url URL, or --provider NAME of one that is kept")
    model = {"provider": given["provider"] or name, "model": given["model"] or name, "kind": given["kind"]}
    if given["quality"] is not None:
        model["quality"] = given["quality"]
    if given["price"]:
        paid, written = given["price"]
        model["price"] = {"input": paid, "output": written, "as_of": moment(SystemClock().now_us())[:DATE]}
    if not given["url"]:
        if given["key"]:
            raise InputError("OMG-X001", "a key belongs to a provider", advice="give its --url too")
        return None, model
    source = {"url": given["url"], "interface": given["interface"]} | ({"key": given["key"]} if given["key"] else {})
    return source, model


async def _added(session: Session, name: str, source: Mapping[str, Any] | None, model: Mapping[str, Any], *, is_default: bool) -> Answer:
    provider = str(model["provider"])
    async with desk_of(session) as at:
        if source is not None:
            await _keep(at, "provider", provider, source)
        kept = await _keep(at, "model", name, model)
        if is_default:
            await _keep(at, "route", "default", {"models": [name]})
    document = {"model": name, **kept, "default": is_default}
    price = model.get("price")
    cost = "price from the list, else unpriced" if price is None else f"{price['input']} and {price['output']} USD per million tokens"
    said = [f"{name}   {model['model']} at {plain(provider)}   {cost}"]
    return Answer(document, said + ["default   answers questions that name no model"] * is_default)


def _row(each: Mapping[str, Any]) -> list[str]:
    micros = each["micros_per_1000_in_and_out"]
    cost = "unpriced" if micros is None else f"{money(micros)} per 1,000 tokens in and out ({each['prices']})"
    return [str(each["name"]), f"{each['kind']} by {each['provider']}", str(each["model"]), cost, str(each["health"]["state"])]


def _whose(record: Mapping[str, Any]) -> str:
    words = {"*": "each caller", "tenant": "all together"}
    return words.get(str(record["who"]), str(record["who"]))


def _amount(record: Mapping[str, Any]) -> str:
    tokens, cost = record.get("tokens"), record.get("cost_micros")
    said = [count(int(tokens), "token")] if tokens is not None else []
    said += [money(int(cost))] if cost is not None else []
    return f"{' and '.join(said)} per {record.get('window', 'day')}"
