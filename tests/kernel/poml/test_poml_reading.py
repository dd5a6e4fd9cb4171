"""What a document may say, and what each mistake is told: code, line, column, what was expected, what was probably meant."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kernel.poml.leaves import EVERY, add, double, refer, resolve
from omega.kernel.errors import DefinitionError
from omega.kernel.flow import flow
from omega.kernel.groups import group
from omega.kernel.poml import (
    SCHEMA_FILE,
    Problem,
    check,
    diff,
    format,
    from_flow,
    kinds,
    parse,
    problems_of,
    reader,
    servers_of,
    to_flow,
    tree,
)
from omega.kernel.servers import Server

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src/omega/kernel/poml"
EXAMPLES = sorted((ROOT / "examples/poml").glob("*.poml"))
HEAD = "poml: 2.0.0\nname: it\n"
TWO = HEAD + "nodes:\n  a: {flow: leaves:add}\n  b: {flow: leaves:double}\n"


def problems(text: str) -> list[Problem]:
    with pytest.raises(DefinitionError) as caught:
        parse(text, name="it.poml")
    return list(problems_of(caught.value))


def only(text: str) -> Problem:
    (found,) = problems(text)
    return found


def unmade(text: str) -> Problem:
    """The one problem that keeps a readable document from becoming a flow."""
    (found,) = check(parse(text, name="it.poml"), resolve)
    return found


# -- good documents


def test_a_document_runs_in_memory() -> None:
    made = to_flow(parse(TWO + "connect: a -> b\n"), resolve)
    assert made(3) == 8
    assert (made.name, made.version, [leaf.name for leaf in made.leaves()]) == ("it", "1.0.0", ["a", "b"])


def test_options_wrap_in_the_order_written() -> None:
    def kinds(options: str) -> list[str]:
        flow = to_flow(parse(HEAD + f"nodes: {{a: {{flow: leaves:add, {options}}}}}\n"), resolve)
        found = []
        while flow.children:
            found.append(flow.body.kind)
            flow = flow.children[0]
        return found

    assert kinds("retry: 3, timeout: 30s") == ["timeout", "retry"]
    assert kinds("timeout: 30s, retry: 3") == ["retry", "timeout"]


def test_a_tool_keeps_what_the_document_says_of_it() -> None:
    text = HEAD + "nodes: {a: {tool: crm/close, effect: write, pin: 0123456789abcdef, limit: 5s, output: {type: object}, approve: owner}}\n"
    made = to_flow(parse(text), resolve)
    leaf = next(made.leaves())
    assert (leaf.body.server, leaf.body.tool, leaf.body.pin, leaf.body.timeout_s) == ("crm", "close", "0123456789abcdef", 5.0)
    assert (leaf.approver_role, leaf.effect.value, leaf.output.given_schema) == ("owner", "write", {"type": "object"})


@pytest.mark.promise("POML-06")
def test_servers_get_references_never_secrets() -> None:
    servers = "secrets: {T: {env: CRM_TOKEN}}\nservers: {crm: {command: [crm, serve], env: {TOKEN: T}, timeout: 5s}}\n"
    document = parse(TWO + "connect: a -> b\n" + servers)
    assert servers_of(document) == [Server("crm", ("crm", "serve"), "", {"TOKEN": "env:CRM_TOKEN"}, {}, 5.0)]


def test_json_is_a_document_too() -> None:
    document = parse(json.dumps({"poml": "2.0.0", "name": "it", "nodes": {"a": {"flow": "leaves:add", "retry": 2}}}))
    assert document.text == HEAD + "nodes:\n  a: {flow: leaves:add, retry: 2}\n"


def test_words_of_older_yaml_are_text() -> None:
    document = parse(HEAD + "nodes: {a: {switch: out, cases: {no: b, on: b, 1: b}}, b: {flow: leaves:add}}\nconnect: a\n")
    assert list(document.nodes["a"].fields["cases"]) == ["no", "on", "1"]


def test_declared_input_is_checked_when_it_arrives() -> None:
    text = HEAD + "types: {Q: {type: object, required: [x]}}\ninput: Q\nnodes: {a: {tool: s/t}}\n"
    made = to_flow(parse(text), resolve)
    assert made.input.name == "Q"
    with pytest.raises(Exception, match="OMG-I001"):
        made.input.read({})


def test_a_module_is_kept_and_said_not_to_be_installed() -> None:
    text = HEAD + "nodes:\n  a: {module: acme/resize@1.2.0:thumb, effect: read, input: {type: object}, approve: owner}\n"
    document = parse(text, name="it.poml")
    assert document.text == text
    (problem,) = check(document, resolve)
    assert (problem.code, problem.line) == ("OMG-L011", 4)
    assert "acme/resize is not installed" in problem.message


def test_people_are_asked_for_a_yes_a_form_or_a_signal() -> None:
    text = format(
        HEAD
        + """types: {Correction: {type: object, properties: {account: {type: string}}}}
nodes:
  yes: {human: {approval: owner, message: really?, within: 8h}, input: {type: object}}
  fill: {human: {form: Correction, message: which account?, role: clerk}}
  paid: {human: {signal: paid, within: 2d}, output: {type: object}}
connect: yes -> fill -> paid
"""
    )
    made = to_flow(parse(text), resolve)
    kinds = [leaf.body for leaf in made.leaves()]
    assert [each.kind for each in kinds] == ["approval", "form", "signal"]
    assert [(each.message, each.role, each.within_s) for each in kinds] == [
        ("really?", "owner", 28800.0), ("which account?", "clerk", 0.0), ("", "", 172800.0),
    ]  # fmt: skip
    assert [leaf.name for leaf in made.leaves()] == ["yes", "fill", "paid"]
    rewritten = from_flow(made.named("other"))
    assert to_flow(rewritten, resolve).named("it").digest == made.digest
    assert "{human: {signal: paid, within: 2d}, output: {type: object}}" in rewritten.text


# -- versions of the format


@pytest.mark.promise("POML-12")
@pytest.mark.parametrize("version", ["2.0.1", "2.1.0", "2.99.3"])
def test_a_later_minor_version_is_read_while_it_uses_nothing_new(version: str) -> None:
    document = parse(TWO.replace("2.0.0", version) + "connect: a -> b\n")
    assert document.text.startswith(f"poml: {version}\n"), "and keeps what it says"


@pytest.mark.promise("POML-12")
@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("nodes: {a: {flow: leaves:add, hedge: 3}}\n", 31, "key of flow node 'a': 'hedge'"),
        ("nodes: {a: {quantum: leaves:add}}\n", 13, "kind of node 'a': 'quantum'"),
        ("nodes: {a: {flow: leaves:add}}\nbudget: 1\n", 1, "key of a document 'budget'"),
    ],
)
def test_what_a_later_minor_version_has_added_is_named_with_its_place(text: str, column: int, what: str) -> None:
    problem = only(HEAD.replace("2.0.0", "2.3.0") + text)
    assert (problem.code, problem.column, problem.suggestion) == ("OMG-L010", column, "")
    assert problem.message == f"{what} is not known to this release, which reads 2.0; the document is 2.3"


@pytest.mark.promise("POML-12")
@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.9.0", "converted by hand"), ("0.1.0", "converted by hand"), ("3.0.0", "a newer release"), ("two", "2.0.0"), ("2.0", "2.0.0")],
)
def test_another_major_version_is_not_read_any_further(version: str, expected: str) -> None:
    problem = only(f"poml: {version}\nwhatever: it says\n")
    assert (problem.code, problem.line, problem.column) == ("OMG-L010", 1, 7)
    assert expected in problem.expected


# -- the museum of bad documents: text, code, line, column, part of the message, suggestion


BAD = {
    "yaml": ("poml: [", "OMG-L001", 1, 8, "not readable", ""),
    "list": ("- a", "OMG-L001", 1, 1, "no mapping", ""),
    "two documents": (TWO + "connect: a -> b\n---\na: 1\n", "OMG-L001", 7, 1, "second document", ""),
    "tag": (HEAD + "nodes: !!python/object:os.system {}", "OMG-L001", 3, 8, "a tag", ""),
    "merge": (TWO + "connect: a -> b\n<<: {}\n", "OMG-L001", 7, 1, "merge key", ""),
    "odd character": (HEAD + "description: a\x07b\n", "OMG-L001", 3, 15, "U+0007", ""),
    "bomb": ("a: &a [x,x]\nb: &b [*a,*a]\n", "OMG-L002", 1, 4, "anchor", ""),
    "deep": ("a: " + "[" * 40 + "]" * 40, "OMG-L002", 1, 35, "deeper than 32", ""),
    "key twice": (TWO + "  a: {flow: leaves:add}\nconnect: a -> b\n", "OMG-L003", 6, 3, "second time", ""),
    "unknown key": (TWO + "conect: a -> b\nconnect: a -> b\n", "OMG-L003", 6, 1, "unknown key of a document 'conect'", "connect"),
    "unknown option": (HEAD + "nodes: {a: {flow: leaves:add, retries: 3}}\n", "OMG-L003", 3, 31, "'retries'", "retry"),
    "comma": (
        HEAD + "nodes: {a: {when: out.all(x, x > 1), then: b}, b: {flow: leaves:add}}\nconnect: a\n",
        "OMG-L003",
        3,
        30,
        "comma cut off",
        "",
    ),
    "unknown kind": (HEAD + "nodes:\n  a: {flw: leaves:add}\n", "OMG-L003", 4, 7, "kind of node 'a'", "flow"),
    "two kinds": (HEAD + "nodes:\n  a: {flow: leaves:add, tool: a/b}\n", "OMG-L003", 4, 3, "flow and tool", ""),
    "no name": ("poml: 2.0.0\nnodes: {a: {flow: leaves:add}}\n", "OMG-L003", 1, 1, "`name` is missing", ""),
    "no connect": (TWO, "OMG-L003", 1, 1, "how the nodes are joined", ""),
    "duration": (HEAD + "nodes: {a: {flow: leaves:add, timeout: soon}}\n", "OMG-L003", 3, 40, "'soon'", ""),
    "count": (HEAD + "nodes: {a: {flow: leaves:add, retry: 1000}}\n", "OMG-L003", 3, 38, "out of range", ""),
    "effect": (HEAD + "nodes: {a: {tool: a/b, effect: reed}}\n", "OMG-L003", 3, 32, "unknown effect", "read"),
    "approve": (HEAD + "nodes: {a: {sub: b, approve: x}, b: {flow: leaves:add}}\nconnect: a\n", "OMG-L003", 3, 21, "'approve'", ""),
    "far reference": (
        HEAD + "input: {$ref: 'https://example.org/x'}\nnodes: {a: {tool: a/b}}\n",
        "OMG-L003",
        3,
        15,
        "leaves the document",
        "",
    ),
    "unknown node": (TWO + "connect: a -> bb\n", "OMG-L004", 6, 15, "unknown node 'bb'", "b"),
    "unreached": (TWO + "connect: a\n", "OMG-L004", 5, 3, "nothing leads to node b", ""),
    "circle": (TWO + "connect: a -> b -> a\n", "OMG-L005", 6, 20, "a -> b -> a", ""),
    "lead back": (HEAD + "nodes:\n  a: {sub: b}\n  b: {foreach: a}\nconnect: a\n", "OMG-L005", 4, 3, "a -> b -> a", ""),
    "to itself": (HEAD + "nodes:\n  a: {sub: a}\n", "OMG-L005", 4, 3, "a -> a", ""),
    "twice": (TWO + "connect: '[a, a] -> b'\n", "OMG-L005", 6, 14, "two places", ""),
    "plaintext secret": (TWO + "connect: a -> b\nsecrets: {T: hunter2}\n", "OMG-L007", 7, 14, "by reference only", ""),
    "secret in server": (
        TWO + "connect: a -> b\nservers: {s: {url: 'https://x', headers: {A: 'Bearer hunter2'}}}\n",
        "OMG-L007",
        7,
        46,
        "by the name",
        "",
    ),
    "token in comment": (TWO + "connect: a -> b  # ghp_" + "a" * 30 + "\n", "OMG-L007", 6, 20, "looks like a secret", ""),
    "unknown secret": (
        TWO + "connect: a -> b\nservers: {s: {url: 'https://x', headers: {A: hunter2}}}\n",
        "OMG-L007",
        7,
        46,
        "no entry of `secrets`",
        "",
    ),
    "arrow": (TWO + "connect: a => b\n", "OMG-L009", 6, 12, "'=> b'", ""),
    "bracket": (TWO + "connect: a -> [b\n", "OMG-L009", 6, 17, "not closed", ""),
    "end": (TWO + "connect: a ->\n", "OMG-L009", 6, 14, "ends here", ""),
    "old format": ("poml: 1.9.0\nname: it\nnodes: {a: {flow: leaves:add}}\n", "OMG-L010", 1, 7, "'1.9.0'", "2.0.0"),
    "new format": ("poml: 3.1.0\nname: it\nnodes: {a: {flow: leaves:add}}\n", "OMG-L010", 1, 7, "'3.1.0'", "2.0.0"),
    "two questions": (HEAD + "nodes: {a: {human: {approval: owner, signal: go}}}\n", "OMG-L003", 3, 20, "approval and signal", ""),
    "no question": (HEAD + "nodes: {a: {human: {message: well}}}\n", "OMG-L003", 3, 20, "asked for nothing", ""),
    "odd question": (HEAD + "nodes: {a: {human: {signal: go, role: owner}}}\n", "OMG-L003", 3, 20, "role does not go", ""),
    "rate": (HEAD + "nodes: {a: {flow: leaves:add, rate: often}}\n", "OMG-L003", 3, 37, "'often' is no rate", ""),
    "no attempt": (HEAD + "nodes: {a: {flow: leaves:add, attempt: false}}\n", "OMG-L003", 3, 40, "made or left out", ""),
    "no while": (HEAD + "nodes: {a: {loop: b}, b: {flow: leaves:add}}\nconnect: a\n", "OMG-L003", 3, 12, "`while` is missing", ""),
    "goal": (
        HEAD + "nodes: {a: {optimize: [b, c], goal: speed}, b: {flow: x:y}, c: {flow: x:y}}\nconnect: a\n",
        "OMG-L003",
        3,
        37,
        "'speed'",
        "",
    ),
}


@pytest.mark.promise("POML-02")
@pytest.mark.promise("POML-06")
@pytest.mark.parametrize("name", BAD)
def test_bad_documents(name: str) -> None:
    text, code, line, column, message, suggestion = BAD[name]
    problem = only(text)
    assert (problem.code, problem.line, problem.column, problem.suggestion) == (code, line, column, suggestion), problem
    assert message in problem.message
    assert "hunter2" not in str(problem) and "ghp_" not in str(problem)


def test_no_error_repeats_a_token_wherever_it_was_written() -> None:
    token = "ghp_" + "a" * 30
    for text in (
        f"connect: a -> {token}\n",
        f"connect: a => {token}\n",
        f"{token}: 1\nconnect: a -> b\n",
        f"connect: a -> b\nversion: {token}\n",
    ):
        found = problems(TWO + text)
        assert {"OMG-L007"} < {problem.code for problem in found}, "both the secret and the mistake are told"
        assert not any("aaaa" in str(problem) for problem in found)


UNMADE = {
    "types": (
        HEAD + "nodes:\n  a: {flow: leaves:word}\n  b: {flow: leaves:add}\nconnect: a -> b\n",
        "OMG-L006",
        6,
        "a (line 4) gives str, b (line 5) takes int",
    ),
    "fork": (
        HEAD + "nodes:\n  a: {flow: leaves:add}\n  b: {flow: leaves:word}\n  c: {flow: leaves:add}\nconnect: '[a, b] -> c'\n",
        "OMG-L006",
        7,
        "[a (line 4), b (line 5)] gives",
    ),
    "branches": (
        HEAD + "nodes:\n  a: {race: [b, c]}\n  b: {flow: leaves:add}\n  c: {flow: leaves:shout}\nconnect: a\n",
        "OMG-L006",
        4,
        "no input fits both",
    ),
    "input": (HEAD + "input: str\nnodes: {a: {flow: leaves:add}}\n", "OMG-L006", 3, "declared as 'str' (line 3), a (line 4) has int"),
    "schema": (HEAD + "output: {type: string}\nnodes: {a: {flow: leaves:add}}\n", "OMG-L006", 3, "a (line 4) has int"),
    "not found": (HEAD + "nodes: {a: {flow: leaves:ad}}\n", "OMG-L008", 3, "'leaves:ad'"),
    "no cel": (HEAD + "nodes: {a: {when: out >, then: b}, b: {flow: leaves:add}}\nconnect: a\n", "OMG-F004", 3, "out >"),
    "retried write": (HEAD + "nodes: {a: {flow: leaves:send, retry: 2}}\n", "OMG-F003", 3, "never retried by itself"),
    "unknown type": (HEAD + "nodes: {a: {tool: a/b, output: Tikcet}}\ntypes: {Ticket: {type: object}}\n", "OMG-L004", 3, "'Tikcet'"),
    "schemas": (
        HEAD
        + "nodes:\n  a: {tool: s/t, output: {type: object, properties: {n: {}}}}\n  b: {tool: s/u, input: {type: object, required: [m]}}\n"
        + "connect: a -> b\n",
        "OMG-L006",
        6,
        "a (line 4) gives dict[str, Any], b (line 5) takes dict[str, Any]: m is wanted, and not among what is given",
    ),
    "saga": (
        HEAD + "nodes:\n  a: {saga: b}\n  b: {flow: leaves:add, undo: c}\n  c: {flow: leaves:word}\nconnect: a\n",
        "OMG-L006",
        5,
        "undoing b hands on tuple[int, int] (its input and output), c takes int",
    ),
    "parameters": (
        HEAD + "nodes:\n  a: {tuned: b, parameters: {by: far}}\n  b: {flow: leaves:shifted}\nconnect: a\n",
        "OMG-L003",
        4,
        "node a: by: input should be a valid integer",
    ),
    "loop": (
        HEAD + "nodes:\n  a: {loop: b, while: out == 1}\n  b: {flow: leaves:word}\nconnect: a\n",
        "OMG-L006",
        4,
        "b gives str, b takes int",
    ),
    "no schema": (HEAD + "nodes: {a: {tool: a/b, output: {type: objekt}}}\n", "OMG-L003", 3, "no JSON Schema"),
}


@pytest.mark.promise("POML-02")
@pytest.mark.parametrize("name", UNMADE)
def test_documents_that_are_no_flow(name: str) -> None:
    text, code, line, message = UNMADE[name]
    problem = unmade(text)
    assert (problem.code, problem.line) == (code, line), problem
    assert message in problem.message


@pytest.mark.promise("POML-02")
def test_everything_wrong_is_told_at_once() -> None:
    text = (
        HEAD
        + "nodes:\n  a: {flow: leaves:add, retry: 0}\n  b: {tol: x/y}\n  c: {sub: d -> ee}\n  d: {flow: leaves:add}\n"
        + "connect: a -> [b, x]\nvresion: 1.0.0\n"
    )
    found = problems(text)
    assert [(each.line, each.code, each.suggestion) for each in found] == [
        (4, "OMG-L003", ""), (5, "OMG-L003", "tool"), (6, "OMG-L004", ""), (8, "OMG-L004", ""), (9, "OMG-L003", "version"),
    ]  # fmt: skip


def test_the_error_names_the_first_and_counts_the_rest() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse("poml: 2.0.0\nnane: it\nnods: it\n", name="it.poml")
    assert str(caught.value).startswith("OMG-L003 it.poml:1:1: the key `name` is missing")
    assert str(caught.value).endswith("(and 3 more)")


# -- limits


def within(seconds: float, text: str, code: str) -> None:
    """`text` is refused with `code` in less CPU time than `seconds`."""
    before = time.process_time()
    assert problems(text)[0].code == code
    assert time.process_time() - before < seconds


@pytest.mark.promise("POML-04")
def test_a_million_nodes_are_refused_quickly() -> None:
    lines = "".join(f"  n{number}: {{flow: leaves:add}}\n" for number in range(1_000_000))
    within(0.5, HEAD + "nodes:\n" + lines, "OMG-L002")


def test_many_small_values_are_refused_quickly() -> None:
    within(4, HEAD + "nodes: [" + "1," * 490_000 + "]", "OMG-L002")
    within(4, HEAD + "nodes:\n" + "".join(f"  n{number}: {{flow: a:b}}\n" for number in range(reader.MAX_NODES + 1)), "OMG-L002")


def test_texts_made_to_be_slow_are_not() -> None:
    within(4, "-eyJ" * 240_000, "OMG-L002")
    within(4, "a" * 990_000, "OMG-L002")
    within(4, HEAD + "nodes: {a: {sub: '" + "a," * 30_000 + "'}}", "OMG-L009")
    names = ", ".join(f"n{number}" for number in range(4_000))
    within(4, TWO + f"connect: '[{names}] -> [{names}]'", "OMG-L004")


@pytest.mark.promise("POML-04")
def test_nodes_that_double_are_refused_quickly() -> None:
    levels = "".join(f"  n{n}: {{when: out > 1, then: n{n + 1}, otherwise: n{n + 1}}}\n" for n in range(30))
    within(0.5, HEAD + "nodes:\n" + levels + "  n30: {flow: leaves:add}\nconnect: n0\n", "OMG-L002")
    (problem,) = problems(HEAD + "nodes:\n" + levels + "  n30: {flow: leaves:add}\nconnect: n0\n")
    assert problem.message == "n17 holds 16,383 nodes, 14 deep", "the innermost node that is too much"
    wide = "".join(f"  m{n}: {{race: [b{n}, n0]}}\n  b{n}: {{flow: leaves:add}}\n" for n in range(20))
    levels = "".join(f"  n{n}: {{when: out > 1, then: n{n + 1}, otherwise: n{n + 1}}}\n" for n in range(9))
    joined = " -> ".join(f"m{n}" for n in range(20))
    within(4, HEAD + "nodes:\n" + levels + "  n9: {flow: leaves:add}\n" + wide + f"connect: {joined}\n", "OMG-L002")


def test_a_long_chain_of_nodes_in_nodes_is_refused() -> None:
    levels = "".join(f"  n{n}: {{sub: n{n + 1}}}\n" for n in range(1_500))
    within(4, HEAD + "nodes:\n" + levels + "  n1500: {flow: leaves:add}\nconnect: n0\n", "OMG-L002")


def test_a_thousand_nodes_are_read_soon() -> None:
    names = [f"n{number}" for number in range(1_000)]
    text = HEAD + "nodes:\n" + "".join(f"  {name}: {{flow: leaves:add, retry: 3}}\n" for name in names) + f"connect: {' -> '.join(names)}\n"
    before = time.process_time()
    document = parse(text)
    assert time.process_time() - before < 2
    assert to_flow(document, resolve)(0) == 1_000


# -- schema, examples, layout, edits


SCHEMA: dict[str, Any] = json.loads((PACKAGE / SCHEMA_FILE).read_text(encoding="utf-8"))


def test_the_schema_is_one_and_knows_the_same_keys_as_the_reader() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(reader._TOP)
    for kind, (_, fields, required) in kinds.KINDS.items():
        node = SCHEMA["$defs"][kind]
        options = set(kinds.OPTIONS) - (set() if kind in kinds.LEAVES else {"approve"})
        assert set(node["properties"]) == {kind} | set(fields) | options | set(kinds.COMMON), kind
        assert set(node["required"]) == {kind, *required}, kind


def test_a_document_with_every_kind_and_every_option() -> None:
    text = format(EVERY)
    document = parse(text)
    assert {node.kind for node in document.nodes.values()} == set(kinds.KINDS) - {"tool", "module", "learn"}
    assert {name for node in document.nodes.values() for name, _ in node.options} == set(kinds.OPTIONS) - {"approve"}
    jsonschema.validate(document.plain, SCHEMA)
    made = to_flow(document, resolve)
    assert from_flow(made).text == text
    written = from_flow(made.named("other"), refer=refer)
    assert to_flow(written, resolve).named("every").digest == made.digest


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_schema_accepts_what_the_reader_accepts(path: Path) -> None:
    jsonschema.validate(parse(path.read_text()).plain, SCHEMA)


@pytest.mark.parametrize(
    "name",
    [
        "unknown key",
        "unknown option",
        "unknown kind",
        "two kinds",
        "no name",
        "duration",
        "count",
        "approve",
        "plaintext secret",
        "old format",
    ],
)
def test_the_schema_refuses_what_is_about_shape(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(BAD[name][0]), SCHEMA)


def test_the_layout() -> None:
    text = """

poml:    2.0.0   # format
name:   'it'


# before nodes
nodes: { a: {flow: "leaves:add",
      retry: 3}, # about a
      b: {flow: leaves:double, # why
          timeout: 30s} }
# about connect
connect:
   a
   ->b
# end"""
    assert format(text) == """poml: 2.0.0  # format
name: it

# before nodes
nodes:
  a: {flow: leaves:add, retry: 3}  # about a
  b:
    flow: leaves:double  # why
    timeout: 30s
# about connect
connect: a ->b
# end
"""  # fmt: skip


def test_the_parser_written_in_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML was built without its C library."""
    texts = [path.read_text(encoding="utf-8") + "# é  # tail\n  # x\n" for path in EXAMPLES]
    with_c = [format(text) for text in texts]
    monkeypatch.setattr(tree, "_LOADER", yaml.SafeLoader)
    assert [format(text) for text in texts] == with_c


def test_an_edited_flow_keeps_comments_secrets_and_order() -> None:
    text = (
        HEAD
        + "secrets: {T: {env: T}}  # kept\nnodes:\n  # first\n  a: {flow: leaves:add}\n"
        + "  b: {flow: leaves:double}  # second\nconnect: a -> b\n"
    )
    made = to_flow(parse(format(text)), resolve)
    assert from_flow(made).text == format(text)
    shorter = replace(made, body=replace(made.body, flows=made.body.flows[:1] * 2), _digest=[])
    assert from_flow(shorter, refer=refer).text == """poml: 2.0.0
name: it
secrets:  # kept
  T: {env: T}
nodes:
  # first
  a: {flow: leaves:add}
  a-2: {flow: leaves:add, name: a}
connect: a -> a-2
"""  # fmt: skip


def test_a_flow_that_no_import_finds_has_no_document() -> None:
    @flow
    def inner(n: int) -> int:
        return n

    with pytest.raises(DefinitionError, match="OMG-L012 inner"):
        from_flow(inner)


def test_differences_by_structure() -> None:
    before = parse(TWO + "connect: a -> b\n")
    after = parse(HEAD + "# moved\nconnect: b->a\nnodes:\n  b: {flow: leaves:double, timeout: 1s, retry: 2}\n  a: {flow: leaves:word}\n")
    assert [(change.what, change.path) for change in diff(before, after)] == [
        ("changed", "nodes.a.flow"),
        ("added", "nodes.b.timeout"),
        ("added", "nodes.b.retry"),
        ("added", "nodes.b.(order of options)"),
        ("changed", "connect"),
    ]
    assert diff(before, parse("# other layout\n" + TWO + "connect:   a->b\n")) == []


def test_a_leaf_that_demands_more_than_its_module_says_is_not_written_down() -> None:
    """Read again, the document would ask for less."""
    bound = group("safe", add).with_policy(needs="ledger:write")["add"]
    with pytest.raises(DefinitionError, match=r"OMG-L012 add .* is not what .*leaves:add names: needs differ"):
        from_flow((double | bound).named("both"))
    assert from_flow((double | add).named("both")).text.count("flow: ") == 2
