"""`omega new`: a project to begin with: a flow with types, its test, a policy with its test, and how to run it."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Final

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session
from omega.kernel.errors import InputError

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")

FLOW: Final = '''"""$title: sums up a text file and writes the summary beside it."""

from omega import Context, ReadFile, WriteFiles, flow
from pydantic import BaseModel


class Request(BaseModel):
    """What to sum up, and where the summary goes."""

    source: str
    target: str


class Summary(BaseModel):
    """A text in numbers."""

    lines: int
    words: int
    longest: str


class Report(BaseModel):
    """A summary, and where it is to be written."""

    summary: Summary
    target: str


@flow(effect="read", needs="files:read")
async def load(ctx: Context, request: Request) -> str:
    """Read the file: a touch, so the gate is asked and the answer is recorded."""
    data: bytes = await ctx.touch(ReadFile(path=request.source, limit=1 << 20))
    return data.decode("utf-8", "replace")


@flow
def summarise(text: str) -> Summary:
    """Count: a pure step, which runs again and again without harm."""
    words = text.split()
    return Summary(lines=len(text.splitlines()), words=len(words), longest=max(words, key=len, default=""))


@flow(effect="write", needs="files:write")
async def save(ctx: Context, report: Report) -> str:
    """Write the summary: after a crash it is never written twice without somebody knowing."""
    await ctx.touch(WriteFiles(files={report.target: report.summary.model_dump_json(indent=2).encode()}))
    return report.target


@flow(effect="write", needs=("files:read", "files:write"))
async def main(ctx: Context, request: Request) -> Summary:
    """Sum up a file."""
    text = await ctx.call(load, request)
    summary = await ctx.call(summarise, text)
    await ctx.call(save, Report(summary=summary, target=request.target))
    return summary
'''

TEST: Final = '''"""What $name does, without a file, a network or a wait."""

from flow import Request, Summary, load, main, save, summarise


def test_a_text_is_counted():
    assert summarise("one two\\nthree") == Summary(lines=2, words=3, longest="three")


def test_the_summary_is_written(omega_test):
    omega_test.answers(load, "a b c")
    omega_test.answers(save, "summary.json")
    result = omega_test.run(main, Request(source="text.txt", target="summary.json"))
    assert result.value == Summary(lines=1, words=3, longest="a")
'''

POLICY: Final = """// Who may do what in $name. Put this file into OMEGA_HOME/policies, or check it as it is: omega policy check policies/*

@id("$name-members-run")
@reason("a member may start $name, read and write")
permit (
  principal is Person in Group::"$name",
  action in [Action::"run", Action::"read", Action::"idempotent", Action::"write"],
  resource
);

@id("$name-save-is-looked-at")
@reason("what members write, an owner reads first")
@approval("owner")
forbid (
  principal is Person in Group::"$name",
  action == Action::"write",
  resource == Flow::"save"
)
unless { context.approved.contains("owner") || principal in Group::"owner" };
"""

POLICY_TEST: Final = """- name: a member starts it
  ask: {principal: "person:bob", groups: [$name], flow: main, effect: run}
  expect: allow
  by: $name-members-run

- name: a member reads
  ask: {principal: "person:bob", groups: [$name], flow: load, effect: read}
  expect: allow
  by: $name-members-run

- name: what a member writes, an owner reads first
  ask: {principal: "person:bob", groups: [$name], flow: save, effect: write}
  expect: needs
  by: $name-save-is-looked-at

- name: somebody else does nothing
  ask: {principal: "person:eve", flow: load, effect: read}
  expect: deny
  by: default-deny
"""

README: Final = """# $name

One flow, `main` in `flow.py`: it reads a text file, counts, and writes the result beside it.

    omega run flow.py --input source=README.md --input target=summary.json
    omega runs                           what ran
    omega verify                         proof of it
    python -m pytest                     the tests: no file, no network, no wait
    omega policy check policies/*        the policy and its tests

Read next: what a flow can be (`docs/flows.md` of Omega), who may do what (`docs/policies.md`), and how to serve it: `omega up flow.py`.
"""

FILES: Final = {
    "flow.py": FLOW,
    "test_flow.py": TEST,
    "policies/$name.cedar": POLICY,
    "policies/$name.test.yaml": POLICY_TEST,
    "README.md": README,
    ".gitignore": "__pycache__/\n.pytest_cache/\nsummary.json\n",
}


@click.command()
@click.argument("name")
@click.option("--in", "parent", default=".", metavar="FOLDER", type=click.Path(file_okay=False), help="where to make it")
@common
@click.pass_obj
def new(session: Session, name: str, parent: str) -> Answer:
    """Make a project NAME: a flow, its test, a policy with its test, a README. Nothing that is there is overwritten."""
    if NAME.fullmatch(name) is None:
        raise InputError("OMG-X001", f"{name[:80]!r} cannot name a project: lower-case letters, digits and '-', beginning with a letter")
    folder = Path(parent) / name
    made = _make(folder, {"name": name, "title": name.replace("-", " ").capitalize()})
    lines = [
        *(f"  {each}" for each in made),
        f"next      cd {folder}",
        "          omega run flow.py --input source=README.md --input target=summary.json",
    ]
    return Answer({"project": name, "folder": str(folder), "files": made}, [f"{folder}", *lines])


def _make(folder: Path, words: dict[str, str]) -> list[str]:
    """Write the files; gives their names. Raises InputError (OMG-P005) when the folder is there, or cannot be written."""
    try:
        folder.mkdir(parents=True)
        made = []
        for pattern, text in FILES.items():
            path = folder / Template(pattern).substitute(words)
            path.parent.mkdir(exist_ok=True)
            path.write_text(Template(text).substitute(words))
            made.append(str(path.relative_to(folder)))
    except FileExistsError:
        raise InputError("OMG-P005", f"{folder} is there already", advice="choose another name, or remove it") from None
    except OSError as error:
        raise InputError("OMG-P005", f"{error.filename or folder} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    return made
