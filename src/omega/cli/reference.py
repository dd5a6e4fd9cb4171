"""Commands that know without looking: `examples`, `errors`, `version`."""

from __future__ import annotations

import platform

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, fields, table
from omega.kernel.errors import CODES, InputError


@click.command()
@common
@click.pass_obj
def examples(session: Session) -> Answer:
    """List the examples that can be run by name."""
    from omega.host.targets import examples as known

    found = known()
    rows = [[name, _first_line(path.read_text(encoding="utf-8")), f"omega run {name}"] for name, path in sorted(found.items())]
    lines = table(rows, indent="") or ["no examples are found here: they come with the checkout"]
    return Answer({"examples": [{"name": row[0], "title": row[1], "file": str(found[row[0]])} for row in rows]}, lines)


@click.command()
@click.argument("code", required=False)
@common
@click.pass_obj
def errors(session: Session, code: str | None) -> Answer:
    """Say what an error code means, or list them all."""
    if code is None:
        listed = {name: {"title": known.title, "fault": known.fault.value, "advice": known.advice} for name, known in CODES.items()}
        return Answer({"errors": listed}, table([[name, known.fault.value, known.title] for name, known in CODES.items()], indent=""))
    name = code.upper() if code.upper().startswith("OMG-") else f"OMG-{code.upper()}"
    if name not in CODES:
        raise InputError("OMG-X001", f"there is no error code {code[:20]!r}", advice="omega errors")
    known = CODES[name]
    document = {"code": name, "title": known.title, "fault": known.fault.value, "advice": known.advice}
    lines = [
        f"{name}  {known.title}",
        *fields([("  whose turn", known.fault.value), ("  do", known.advice), ("  more", f"docs/errors.md, {name}")]),
    ]
    return Answer(document, lines)


@click.command()
@common
@click.pass_obj
def version(session: Session) -> Answer:
    """Print the version."""
    from importlib.metadata import version as installed

    from omega.kernel.journal import FORMAT

    found = installed("omega-platform")
    document = {"version": found, "python": platform.python_version(), "format": FORMAT}
    return Answer(document, [f"omega {found}   python {platform.python_version()}   format {FORMAT}"])


def _first_line(source: str) -> str:
    """What an example's docstring, or the comment at the top of a document, says of it, up to the first colon or full stop."""
    text = source.lstrip().removeprefix('"""').removeprefix("# ").splitlines()[0] if source.strip() else ""
    return text.split(":")[0].split(". ")[0].rstrip('."')
