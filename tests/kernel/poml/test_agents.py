"""Agents: what the model is told, what it may do, and what its answers become; with a model that says what the test wrote down."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from omega.host.embedded import Omega
from omega.kernel.agents import MAX_SAID, Agent, agent
from omega.kernel.direct import run_direct
from omega.kernel.errors import DefinitionError, UpstreamError
from omega.kernel.flow import Flow, flow
from omega.kernel.poml import check, format, from_flow, parse, problems_of, to_flow

AnyFlow = Flow[Any, Any]


class Team(BaseModel):
    """Who answers."""

    name: str


@flow
def history(customer: str) -> list[str]:
    """What a customer asked before."""
    return [f"{customer} asked about invoices"]


@flow
def fails(customer: str) -> str:
    """Never works."""
    raise OSError("the archive is closed")


class Spoken:
    """A model that says what was written down for it, and keeps what it was told."""

    def __init__(self, *says: str) -> None:
        self.says, self.told = list(says), list[str]()

    def __call__(self, prompt: str) -> str:
        self.told.append(prompt)
        return self.says.pop(0)


def asked(flow: AnyFlow, value: Any, model: Callable[[str], str]) -> Any:
    return run_direct(flow, value, {flow.name: model})


@pytest.mark.promise("POML-11")
def test_an_agent_calls_tools_until_it_answers() -> None:
    model = Spoken('{"call": "history", "input": "ada"}', '```json\n{"answer": {"name": "billing"}}\n```')
    sort = agent("sort", instructions="Which team?", input=str, output=Team, tools=[history])
    assert asked(sort, "the invoice of ada is wrong", model) == Team(name="billing")
    first, second = model.told
    assert first.startswith('Input:\n"the invoice of ada is wrong"')
    assert "Tool history: What a customer asked before." in first
    assert '"name"' in first, "the schema of the answer"
    assert 'history returned ["ada asked about invoices"]' in second


@pytest.mark.parametrize("said", ["NaN", "Infinity", "1e999"])
def test_a_number_that_cannot_be_stored_is_told_to_the_model(said: str) -> None:
    model = Spoken(f'{{"answer": {said}}}', '{"answer": 0.5}')
    assert asked(agent("share", instructions="How much?", output=float), "x", model) == 0.5
    assert "not usable: not a number, or infinite" in model.told[1]


@pytest.mark.promise("POML-11")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("not json", "it is no JSON"),
        ("[1]", 'neither "answer" nor "call"'),
        ('{"call": "delete", "input": 1}', "there is no tool of that name (tools: history, fails)"),
        ('{"call": "history", "input": {"a": 1}}', "not usable: "),
        ('{"answer": {"nam": 1}}', "not usable: name"),
        ('{"call": "fails", "input": "ada"}', "fails failed: OMG-R001 step failed"),
        (r'{"call": "history", "input": "\ud800"}', "not usable: cannot be stored: value holds half a character"),
        (r'{"answer": {"\ud800": 1}}', "not usable: "),
    ],
)
def test_what_does_not_fit_is_told_to_the_model(said: str, told: str) -> None:
    model = Spoken(said, '{"answer": {"name": "billing"}}')
    sort = agent("sort", instructions="Which team?", output=Team, tools=[history, fails])
    assert asked(sort, 1, model) == Team(name="billing")
    assert told in model.told[1]


@pytest.mark.promise("POML-11")
def test_when_the_turns_are_used_up_the_step_fails() -> None:
    model = Spoken(*["nonsense"] * 9)
    sort = agent("sort", instructions="Which team?", output=Team, tools=[history], turns=3)
    with pytest.raises(UpstreamError, match="OMG-M008 sort gave no answer that fits Team in 3 turns"):
        asked(sort, 1, model)
    assert len(model.told) == 3


def test_an_agent_without_tools_that_gives_text_just_gives_it() -> None:
    model = Spoken("  hello  ")
    assert asked(agent("greet", instructions="Greet."), {"name": "ada"}, model) == "hello"
    assert model.told == ['Input:\n{"name": "ada"}'], "no protocol is needed"


def test_a_long_conversation_forgets_its_oldest_turns() -> None:
    model = Spoken(*['{"call": "history", "input": "' + "x" * 15_000 + '"}'] * 20, '{"answer": "done"}')
    assert asked(agent("talk", instructions="Talk.", tools=[history], turns=30), 1, model) == "done"
    assert max(map(len, model.told)) < MAX_SAID + 1_000
    assert "(earlier turns are left out)" in model.told[-1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"instructions": " "},
        {"turns": 51},
        {"max_tokens": 0},
        {"tools": [history, history]},
        {"tools": [history.named("sort")]},
        {"tools": ["history"]},
    ],
)
def test_what_cannot_be_an_agent_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="OMG-F003"):
        agent("sort", **({"instructions": "Sort."} | wrong))


def test_an_agent_needs_what_its_model_and_its_tools_need() -> None:
    sort = agent("sort", instructions="Sort.", tools=[history.named("look")])
    assert (sort.effect.value, sort.needs) == ("read", frozenset({"model:ask"}))
    other = agent("sort", instructions="Sort otherwise.", tools=[history.named("look")])
    assert sort.digest != other.digest, "what the model is told is part of what the flow is"


# -- down the road


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An endpoint on this machine that speaks chat completions; what is put into the list are its answers, in turn."""
    answers: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = {"choices": [{"message": {"content": answers.pop(0)}, "finish_reason": "stop"}], "usage": {"total_tokens": 30}}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("OMEGA_MODEL_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OMEGA_MODEL", "canned")
    yield answers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.promise("POML-11")
def test_without_a_model_an_agent_fails_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMEGA_MODEL", "OMEGA_MODEL_URL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MISTRAL_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    async def whole() -> Any:
        async with Omega.open(tmp_path / "home") as omega:
            return await omega.run(agent("greet", instructions="Greet."), "ada")

    outcome = asyncio.run(whole())
    assert outcome.error is not None
    assert outcome.error["code"] == "OMG-X002"


@pytest.mark.promise("POML-11")
def test_every_question_and_every_call_is_a_step_and_a_replay_asks_nobody(spoken: list[str], tmp_path: Path) -> None:
    spoken += ['{"call": "history", "input": "ada"}', '{"answer": {"name": "billing"}}']
    sort = agent("sort", instructions="Which team?", input=str, output=Team, tools=[history])

    async def whole() -> tuple[Any, Any]:
        async with Omega.open(tmp_path / "home") as omega:
            outcome = await omega.run(sort, "wrong invoice", execution="one")
            return outcome, await omega.replay("one", sort)

    outcome, report = asyncio.run(whole())
    assert outcome.error is None, outcome.error
    assert outcome.value == {"name": "billing"}
    assert spoken == []
    assert report.identical and report.positions == ["sort", "history", "sort#2"]
    assert report.recalled == 2, "both questions come from the records"


# -- in documents

DOCUMENT = """poml: 2.0.0
name: sorting
types:
  Answer:
    type: object
    properties: {name: {type: string}}
    required: [name]
nodes:
  sort:
    agent: {instructions: Which team?, model: small, tools: [look], turns: 4, max_tokens: 400}
    input: string
    output: Answer
  look: {flow: agents:history}
  name: {flow: agents:name}
connect: sort -> name
"""


@flow
def name(team: Team) -> str:
    """The name alone."""
    return team.name


def resolve(reference: str) -> AnyFlow:
    return {"agents:history": history, "agents:name": name}[reference]


@pytest.mark.promise("POML-11")
def test_an_agent_in_a_document_goes_there_and_back() -> None:
    text = format(DOCUMENT.replace("input: string", "input: str"))
    made = to_flow(parse(text), resolve)
    model = Spoken('{"call": "look", "input": "ada"}', '{"answer": {"name": "billing"}}')
    assert run_direct(made, "wrong invoice", {"sort": model}) == "billing"
    assert from_flow(made).text == text
    body = made.children[0].body
    assert isinstance(body, Agent) and body.turns == 4 and [tool.name for tool in body.tools] == ["look"]
    written = from_flow(made.named("other"), refer=lambda leaf: {"look": "agents:history"}.get(leaf.name, "agents:name"))
    assert to_flow(written, resolve).named("sorting").digest == made.digest


def test_an_agent_made_in_python_has_a_document() -> None:
    sort = agent("sort", instructions="Which team?", input=str, output=Team, tools=[history])
    document = from_flow(sort, refer=lambda leaf: "agents:history")
    assert json.dumps(document.types["Team"]) == json.dumps(Team.model_json_schema())
    assert to_flow(document, resolve).digest == sort.digest


GUARDED = (
    DOCUMENT.replace("input: string", "input: str")
    .replace(
        "turns: 4",
        "offered: ['git:read', '*:idempotent'], input_checks: [injection, brief], output_checks: [brief, personal], again: 2, turns: 4",
    )
    .replace("connect:", "  brief: {flow: agents:brief}\nconnect:")
)


@flow
def brief(text: str) -> str:
    """What is wrong with a long text."""
    return "it is long" if len(text) > 40 else ""


def resolve_all(reference: str) -> AnyFlow:
    return {"agents:brief": brief}.get(reference) or resolve(reference)


@pytest.mark.promise("AGENT-16")
def test_capabilities_and_checks_in_a_document_go_there_and_back() -> None:
    text = format(GUARDED)
    made = to_flow(parse(text), resolve_all)
    body = made.children[0].body
    assert isinstance(body, Agent) and body.capabilities == ("git:read", "*:idempotent") and body.again == 2
    assert [each.name for each in body.input_checks] == ["sort.injection", "brief"]
    assert [each.name for each in body.output_checks] == ["brief", "sort.personal"]
    assert made.children[0].effect.value == "idempotent"
    assert from_flow(made).text == text
    in_python = agent(
        "sort",
        instructions="Which team?",
        input=str,
        output=Team,
        offered=["git:read"],
        tools=[history],
        input_checks=["personal", brief],
        output_checks=[brief],
        again=1,
    )
    names = {"history": "agents:history", "brief": "agents:brief"}
    assert to_flow(from_flow(in_python, refer=lambda leaf: names[leaf.name]), resolve_all).digest == in_python.digest
    model = Spoken('{"answer": {"name": "billing, or somebody who knows about it"}}', '{"answer": {"name": "billing"}}')
    nothing = {"sort.tools": lambda _: [], "sort.injection": lambda _: "", "sort.personal": lambda _: ""}
    assert run_direct(made, "wrong invoice", {"sort": model, **nothing}) == "billing"
    assert "does not pass the check brief: it is long" in model.told[1]


@pytest.mark.promise("AGENT-16")
@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (("'git:read'", "'git/read'"), "OMG-L003", "is no capability of a tool"),
        (("[injection, brief]", "[injektion, brief]"), "OMG-L004", "unknown node 'injektion'"),
        (("again: 2", "again: 9"), "OMG-L003", "out of range"),
        (("['git:read', '*:idempotent']", "[]"), "OMG-L003", "the list is empty"),
    ],
)
def test_what_is_wrong_with_capabilities_and_checks_is_told(wrong: tuple[str, str], code: str, message: str) -> None:
    text = GUARDED.replace(*wrong)
    assert text != GUARDED
    try:
        problems = check(parse(text), resolve_all)
    except DefinitionError as error:
        problems = problems_of(error)
    assert [(each.code, each.line) for each in problems] == [(code, 10)], problems
    assert message in problems[0].message


@pytest.mark.promise("POML-02")
@pytest.mark.parametrize(
    ("wrong", "code", "line", "message"),
    [
        (("tools: [look]", "tools: [look -> name]"), "OMG-L003", 10, "is no tool"),
        (("tools: [look]", "tools: [lok]"), "OMG-L004", 10, "unknown node 'lok'"),
        (("instructions: Which team?, ", ""), "OMG-L003", 10, "`instructions` is missing"),
        (("turns: 4", "turn: 4"), "OMG-L003", 10, "unknown key of an agent 'turn'"),
        (("{name: {type: string}}", "{name: {type: integer}}"), "OMG-L006", 15, "name is of type integer, string is wanted"),
        (("    properties: {name: {type: string}}\n    required: [name]", "    properties: {title: {}}"), "OMG-L006", 14, "name is wanted"),
    ],
)
def test_what_is_wrong_with_an_agent_is_told_with_its_place(wrong: tuple[str, str], code: str, line: int, message: str) -> None:
    text = DOCUMENT.replace("input: string", "input: str").replace(*wrong)
    try:
        problems = check(parse(text), resolve)
    except DefinitionError as error:
        problems = problems_of(error)
    assert [(each.code, each.line) for each in problems] == [(code, line)], problems
    assert message in problems[0].message
