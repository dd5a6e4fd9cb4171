"""How commands speak: a document for programs, aligned lines for people, notes on standard error.

Colour only repeats what a word says. NO_COLOR (any value) turns it off, and so does a stream that is no terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import click

from omega.cli.exits import Exit
from omega.kernel.errors import OmegaError

if TYPE_CHECKING:
    from omega.client.contexts import Context

COLOURS = {
    "done": "green",
    "sound": "green",
    "identical": "green",
    "ok": "green",
    "failed": "red",
    "fail": "red",
    "denied": "red",
    "not sound": "red",
    "dead": "red",
    "forked": "green",
    "waiting": "yellow",
    "in doubt": "yellow",
    "interrupted": "yellow",
    "warn": "yellow",
}
MAX_VALUE = 2_000
"""Characters of a result shown to a person; `--json` has all of it."""
MAX_PROBLEMS = 10
"""Problems of one input that are told one by one."""
MAX_CELL = 100
"""Longest cell of a table in characters."""

_BREAKS = {ord(letter): " " for letter in "\r\n\t\v\f"}


@dataclass(slots=True)
class Session:
    """What holds for one command: which data folder, and whether a program reads the answer."""

    home: str | None = None
    json: bool = False
    execution: str = ""
    """The execution that the command is about, so that advice can name it."""
    stream: TextIO | None = None
    """Where the answer of a command with `json` goes, while whatever else is printed goes to standard error."""
    context: str = ""
    """The context that was asked for with --context."""
    local: bool = False
    """Whether --local asked for this machine."""
    there: tuple[str, Context] | None = None
    """The remote installation at which a command that can be made there is made, by name; None for this machine."""

    def line(self, text: str) -> None:
        """One line of a longer answer, as it comes."""
        stream = self.stream or sys.stdout
        stream.write(f"{text}\n")
        stream.flush()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say: `document` with `--json`, `lines` else, and the exit status.

    `refused` says that the command did not do its work: its lines go to standard error then. `compact` writes the document as one line,
    the last of many.
    """

    document: Mapping[str, Any]
    lines: Sequence[str] = field(default=())
    status: int = Exit.DONE
    refused: bool = False
    compact: bool = False

    def give(self, session: Session) -> int:
        """Print it, and give the exit status."""
        if session.json:
            document = {"ok": self.status == Exit.DONE, **self.document}
            indent = None if self.compact else 2
            sys.stdout.write(json.dumps(document, indent=indent, ensure_ascii=not _unicode(), default=str) + "\n")
        else:
            for line in self.lines:
                (note if self.refused else say)(line)
        return int(self.status)


def say(text: str = "") -> None:
    """One line on standard output."""
    click.echo(text, color=colourful(sys.stdout))


def note(text: str) -> None:
    """One line on standard error: progress, and what a program should not read."""
    click.echo(text, err=True, color=colourful(sys.stderr))


def colourful(stream: Any) -> bool:
    """Whether colour may be used on `stream`."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(getattr(stream, "isatty", lambda: False)())


def paint(word: str, width: int = 0) -> str:
    """A word that has a meaning, in the colour of it, padded to `width`."""
    colour = COLOURS.get(word)
    padded = f"{word:<{width}}"
    return click.style(word, fg=colour) + padded[len(word) :] if colour else padded


def table(rows: Iterable[Sequence[Any]], *, indent: str = "  ", right: Iterable[int] = (), last_is_free: bool = True) -> list[str]:
    """Rows as aligned lines; columns in `right` are set flush right. Words with a meaning get their colour."""
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    if not cells:
        return []
    cells = [[cell if last_is_free and index == len(row) - 1 else clip(cell) for index, cell in enumerate(row)] for row in cells]
    widths = [max(len(row[index]) for row in cells if index < len(row)) for index in range(max(map(len, cells)))]
    flush = set(right)
    lines = []
    for row in cells:
        parts = [
            f"{cell:>{widths[index]}}" if index in flush else paint(cell, widths[index] if index < len(row) - 1 else 0)
            for index, cell in enumerate(row)
        ]
        lines.append((indent + "   ".join(parts)).rstrip())
    return lines


def input_lines(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The fields that a person fills in (`omega.host.inputs.input_fields`), one a line."""
    return table(
        [each["name"], each["type"], "must be given" if each["required"] else f"default {each['default']!r}", each["description"]]
        for each in found
    )


def fields(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """`word  text` lines with the words aligned; empty texts are left out."""
    kept = [(word, plain(text)) for word, text in pairs if text]
    width = max((len(word) for word, _ in kept), default=0)
    return [f"{paint(word, width)}  {text}" for word, text in kept]


def plain(text: str) -> str:
    """`text` fit for a terminal: control characters, which could move the cursor or hide what stands before, are shown as escapes."""
    flat = text.translate(_BREAKS)
    return flat if flat.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in flat)


def clip(text: str, limit: int = MAX_CELL) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def seconds(took: float) -> str:
    """A duration for people."""
    if took < 0.05:
        return f"{took * 1000:.1f} ms"
    if took < 100:
        return f"{took:.1f} s"
    minutes, rest = divmod(int(took), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def ago(then_us: int, now_us: int) -> str:
    """How long ago, for people."""
    passed = max(0, now_us - then_us) / 1_000_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if passed >= size:
            return f"{passed / size:.0f} {unit} ago"
    return f"{passed:.0f} s ago"


def count(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def money(micros: int, currency: str = "USD") -> str:
    """An amount in millionths of a currency, for people."""
    return f"{micros / 1_000_000:.2f} {currency}" if micros % 10_000 == 0 else f"{micros / 1_000_000:.6f} {currency}"


def value_lines(value: Any) -> list[str]:
    """A result for people: a text as it is, an object as aligned fields (its `headline` first), other data as JSON; cut when long."""
    if value is None:
        return []
    if isinstance(value, str):
        lines = [plain(line) for line in value.splitlines()]
    elif isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
        headline = value.get("headline")
        rest = [(key, _inline(each)) for key, each in value.items() if key != "headline" or not isinstance(headline, str)]
        lines = ([plain(headline)] if isinstance(headline, str) else []) + [f"  {line}" for line in fields(rest)]
    else:
        lines = [plain(json.dumps(value, ensure_ascii=False))]
    total, kept = 0, []
    for line in lines:
        total += len(line)
        if total > MAX_VALUE:
            kept.append("... (all of it: --json)")
            break
        kept.append(line)
    return kept


def _inline(value: Any) -> str:
    """A field of a result in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "  ".join(value)
    if isinstance(value, Mapping):
        return "  ".join(f"{key} {_inline(item)}" for key, item in value.items())
    return json.dumps(value, ensure_ascii=False)


def error_answer(error: OmegaError, status: int, execution: str = "") -> Answer:
    """An error as the answer of a command."""
    record = error.record()
    known = execution if error.code != "OMG-I003" else ""
    return Answer({"error": record}, error_lines(record, known), status, refused=True)


def error_lines(record: Mapping[str, Any], execution: str = "") -> list[str]:
    """An error for people: code and cause, whose turn it is, the next command."""
    details = dict(record.get("details") or {})
    execution = execution or str(details.get("execution", ""))
    advice = _concrete(str(record.get("advice", "")), execution, str(details.get("step", "")))
    if "signal" in details:
        advice = advice.replace(" NAME", f" {details['signal']}")
    if record.get("family") == "denied" and details.get("policies"):
        return _denial_lines(record, details, execution, advice)
    lines = [f"{click.style(str(record['code']), fg='red')}  {plain(str(record.get('cause') or record.get('title', '')))}"]
    if {"recorded", "now"} <= details.keys():
        lines += _change_lines(details)
    pairs = [("whose turn", str(record.get("fault", ""))), ("do", advice)]
    if execution and f" {execution}" not in advice:
        pairs.append(("to see", f"omega show {execution}"))
    said = [] if record.get("family") == "suspended" else _detail_lines(details)
    if record["code"] == "OMG-S001":
        said = _holder_lines(details)
    return lines + [f"  {line}" for line in [*fields([("detail", text) for text in said]), *fields(pairs)]]


def _denial_lines(record: Mapping[str, Any], details: Mapping[str, Any], execution: str, advice: str) -> list[str]:
    step = str(details.get("step", ""))
    what = "   ".join(filter(None, (str(details.get("flow", "")), str(details.get("effect", "")))))
    see = f"omega policy explain {execution}/{step}" if execution and step else f"omega policy explain {execution}" if execution else ""
    return fields(
        [
            ("denied", f"{what}   {record['code']}"),
            ("rule", f"{', '.join(details['policies'])}   {details.get('where', '')}".rstrip()),
            ("because", str(details.get("reason") or record.get("cause", ""))),
            *(("error", str(error)) for error in details.get("errors", ())),
            ("to ask", advice),
            ("to see", see),
        ]
    )


def _change_lines(details: Mapping[str, Any]) -> list[str]:
    rows = []
    for word in ("recorded", "now"):
        found = details[word] if isinstance(details[word], Mapping) else {}
        digest = str(found.get("code") or found.get("digest") or "")
        rows.append(
            [word, found.get("step", ""), found.get("where", ""), found.get("version", ""), f"code {digest[:12]}" if digest else ""]
        )
    return table(rows)


def _detail_lines(details: Mapping[str, Any]) -> list[str]:
    """What an error carries besides, as far as a person gains from it: last words of programs, differences, lists of errors."""
    shown: list[str] = []
    for name, value in details.items():
        if name in ("recorded", "now", "execution", "step", "flow", "expected", "field", "idempotency_key"):
            continue
        if isinstance(value, str) and value:
            shown += [f"{name}: {line}" if index == 0 else line for index, line in enumerate(value.splitlines()[-8:])]
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            shown += [f"{name}: {', '.join(value)}"] if name != "diff" else value
        elif name == "errors" and isinstance(value, list) and len(value) > 1:
            shown += _problem_lines(value)
    return [clip(line, 200) for line in shown[:40]]


def _problem_lines(problems: Sequence[Any]) -> list[str]:
    """Everything that does not fit in an input, field by field."""
    found = [f"{each.get('path') or 'input'}: {each.get('problem', '')}" for each in problems if isinstance(each, Mapping)]
    more = [f"and {len(found) - MAX_PROBLEMS} more"] if len(found) > MAX_PROBLEMS else []
    return found[:MAX_PROBLEMS] + more


def _holder_lines(details: Mapping[str, Any]) -> list[str]:
    """The process that has the data folder: its number, since when, its command line."""
    from omega.host.presence import command_of

    pid = details.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return []
    found = command_of(pid)
    return [f"process {pid}"] if found is None else [f"process {pid}, for {seconds(found.age_s)}: {found.command}"]


def _concrete(advice: str, execution: str, step: str) -> str:
    """Advice with the id and step filled in, so that it works when pasted."""
    if execution:
        advice = advice.replace(" ID/STEP", f" {execution}/{step}" if step else f" {execution}").replace(" ID", f" {execution}")
    return advice.replace(" STEP", f" {step}") if step else advice


def _unicode() -> bool:
    return (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"
