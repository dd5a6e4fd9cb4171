"""The table of commands, and how a command is found: by name, from its module, on use."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any, NamedTuple

import click

from omega.cli.exits import MEANING
from omega.cli.output import Session, note
from omega.kernel.errors import StorageError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class Entry(NamedTuple):
    """Where a command lives, and what the list of commands says of it."""

    module: str
    name: str
    help: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "run": {
        "run": Entry("running", "run", "run a flow durably, through the gate"),
        "resume": Entry("running", "resume", "go on with an execution where it stands"),
        "call": Entry("running", "call", "call a method of an installed service, or list them"),
        "up": Entry("up", "up", "serve this installation over HTTP until it is told to stop"),
        "worker": Entry("working", "worker", "work off queues until it is told to stop"),
        "fork": Entry("versions", "fork", "begin anew from a step of an execution"),
    },
    "decide": {
        "approve": Entry("deciding", "approve", "approve a step that waits for a person"),
        "answer": Entry("deciding", "answer", "fill in the form that a step waits for"),
        "resolve": Entry("deciding", "resolve", "say what became of a step in doubt"),
        "signal": Entry("deciding", "signal", "send a value to an execution"),
        "cancel": Entry("deciding", "cancel", "end an execution, or all that match"),
        "redrive": Entry("deciding", "redrive", "try again what was given up or failed"),
    },
    "look": {
        "runs": Entry("searching", "runs", "list and search what is recorded"),
        "dead": Entry("searching", "dead", "list what was given up, with the reason"),
        "show": Entry("looking", "show", "show an execution step by step"),
        "replay": Entry("looking", "replay", "repeat an execution from its journal and compare"),
        "log": Entry("log", "log", "look at the log, search it, see who looked at it"),
        "events": Entry("hooks", "events", "show what happened, and follow it"),
        "witness": Entry("witnessing", "witness", "cosign other logs, have this one cosigned"),
        "verify": Entry("proving", "verify", "verify the log and the journals; export them"),
    },
    "arrange": {
        "queue": Entry("arranging", "queue", "list, limit, pause and resume queues"),
        "schedule": Entry("schedules", "schedule", "start flows when a timing says so"),
        "migrate": Entry("versions", "migrate", "carry what stands still over to another version of its flow"),
        "webhook": Entry("hooks", "webhook", "send events to other programs, signed"),
        "relay": Entry("relay", "relay", "publish events on a message bus as they happen"),
        "retain": Entry("arranging", "retain", "say how long payloads are kept"),
        "privacy": Entry("privacy", "privacy", "say how much is kept, by which rules, and where"),
        "erase": Entry("privacy", "erase", "destroy payloads: of a subject, an execution, or by age"),
        "limit": Entry("limiting", "limit", "list, set and remove limits per minute, hour or day"),
        "breaker": Entry("breaking", "breaker", "leave alone for a while what fails too often"),
        "budget": Entry("limiting", "budget", "say what an agent, a person or a tenant may spend"),
        "guards": Entry("limiting", "guards", "say what is done about injected instructions and personal data"),
        "fact": Entry("limiting", "fact", "let policies know something, such as an open change window"),
        "quarantine": Entry("lockout", "quarantine", "lock one agent out, and let it in again"),
        "hold": Entry("privacy", "hold", "place and release legal holds"),
        "guard": Entry("guard", "guard", "health, service levels, error budgets, alerts"),
    },
    "set up": {
        "policy": Entry("policies", "policy", "show, check, test and change policies, explain decisions"),
        "mfa": Entry("factors", "mfa", "second factors: enrol, list, reset"),
        "mcp": Entry("servers", "mcp", "add, list, compare and remove tool servers; virtual servers"),
        "a2a": Entry("a2a", "a2a", "publish flows as agents, ask agents elsewhere"),
        "primary": Entry("primary", "primary", "bridge to a primary for reading"),
        "clients": Entry("obtaining", "clients", "list the clients that act for you, and end what they may do"),
        "connect": Entry("connect", "connect", "tell an MCP client on this machine of this installation"),
        "sign-in": Entry("signing", "sign_in", "print a link by which a browser signs in"),
        "agents": Entry("agents", "agents", "list and register agents, try versions, have them work"),
        "models": Entry("models", "models", "list and add models and routes; say who may spend what on them"),
        "poml": Entry("poml", "poml", "check, lay out, draw, compare and price workflow documents"),
        "credential": Entry("vouching", "credential", "issue, show, present and verify credentials"),
        "secrets": Entry("secrets", "secrets", "list secrets for tool servers, their age and use; rotate one"),
        "keys": Entry("keys", "keys", "list and rotate keys, seal the root"),
        "tenant": Entry("tenants", "tenant", "make, list, suspend and delete tenants"),
        "key": Entry("tenants", "key", "make, list and revoke API keys"),
        "user": Entry("directory", "user", "make, list, suspend, resume and delete users of a tenant"),
        "group": Entry("directory", "group", "make groups of users, put users in and take them out"),
        "sso": Entry("directory", "sso", "have people sign in with their organisation's accounts"),
        "sandbox": Entry("sandboxes", "sandbox", "try everything in a tenant that expires"),
        "doctor": Entry("doctor", "doctor", "examine this installation"),
    },
    "go elsewhere": {
        "login": Entry("remote", "login", "sign in to a remote installation"),
        "logout": Entry("remote", "logout", "forget a remote installation"),
        "context": Entry("remote", "context", "list the installations you signed in to, and choose one"),
    },
    "know": {
        "new": Entry("new", "new", "make a project: a flow, its test, a policy"),
        "completion": Entry("completion", "completion", "print what a shell needs to complete commands"),
        "examples": Entry("reference", "examples", "list the examples that can be run by name"),
        "errors": Entry("reference", "errors", "say what an error code means"),
        "version": Entry("reference", "version", "print the version"),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """The commands of the table; listing them loads none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found: click.Command = getattr(import_module(f"omega.cli.{entry.module}"), entry.name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, by section, then the exit statuses."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()], col_max=12)
        with formatter.section("exit status"):
            formatter.write_dl([(str(int(status)), meaning) for status, meaning in MEANING.items()], col_max=12)


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        session = ctx.find_object(Session)
        if session is not None and value:
            setattr(session, name, value)

    return keep


def about_execution(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument ID, and let the session know it."""
    return click.argument("execution", metavar="ID", callback=_remember)(command)


def _remember(ctx: click.Context, _: click.Parameter, value: str) -> str:
    session = ctx.find_object(Session)
    if session is not None:
        session.execution = value
    return value


PLACELESS = frozenset({"new", "completion", "examples", "errors", "version", "poml", "login", "logout", "context"})
"""Commands that are about no installation, or about which one is meant: they say nothing of where they are made."""


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command of this machine the options that all have. While a remote context is current it says where it is made."""

    @wraps(command)
    def here(*given: Any, **options: Any) -> Any:
        ctx = click.get_current_context()
        words = ctx.command_path.split()[1:]
        if words and words[0] not in PLACELESS:
            _say_here(ctx.ensure_object(Session), " ".join(words))
        return command(*given, **options)

    return _shared(here)


def anywhere(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that can be made at a remote installation the same options, and --context; `Session.there` says where it is made."""

    @wraps(command)
    def placed(*given: Any, **options: Any) -> Any:
        from omega.cli.contexts import place

        session = click.get_current_context().ensure_object(Session)
        session.there = place(session)
        return command(*given, **options)

    context = click.option(
        "--context",
        metavar="NAME",
        expose_value=False,
        callback=_keep("context"),
        help="a remote installation that you signed in to; `here` for this machine",
    )
    return context(_shared(placed))


def _say_here(session: Session, words: str) -> None:
    """One line on standard error where a remote context is current, and the command is made here all the same."""
    from omega.cli.contexts import place

    try:
        found = place(session)
    except StorageError as error:  # which context is current is not known; what is made here needs none
        note(f"{error.code}  {error.cause}")
        return
    if found is not None:
        note(f"omega {words} is made on this machine, not at {found[0]}   to say so: --local   back for good: omega context use here")


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    home = click.option(
        "--home",
        metavar="FOLDER",
        expose_value=False,
        is_eager=True,
        callback=_keep("home"),
        help="the data folder (else OMEGA_HOME, else ~/.omega)",
    )
    as_json = click.option(
        "--json", is_flag=True, expose_value=False, is_eager=True, callback=_keep("json"), help="answer with one JSON document"
    )
    local = click.option(
        "--local", is_flag=True, expose_value=False, callback=_keep("local"), help="on this machine, whatever context is current"
    )
    return as_json(home(local(command)))


@click.command(cls=LazyGroup, context_settings=CONTEXT, no_args_is_help=True)
@common
def app() -> None:
    """Omega, the governed runtime for AI agents: typed flows, run durably through one policy gate, with proof of what happened.

    OMEGA_HOME names the data folder. Each command takes --json and has a --help of its own.
    """
