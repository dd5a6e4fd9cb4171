"""From text to document: `parse` reads as much as it can and reports everything that is wrong at once.

What may stand where is a table (`_KINDS`, `_OPTIONS`, `_TOP`): a key and the function that reads its value. The JSON Schema beside this
module says the same for editors; a test holds the two together. What a schema cannot say follows: names that are there, no way round, a
size that stays bounded when nodes refer to nodes, secrets by reference only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from omega.kernel.compose import MAX_ATTEMPTS, MAX_ITEMS, seconds
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.poml.connect import NODE, Chain, Name, NotAnExpression, parse_chain
from omega.kernel.poml.document import SCHEMA_VERSION, Document, Node, ToolServer, Typed
from omega.kernel.poml.graph import Graph
from omega.kernel.poml.layout import plain_of
from omega.kernel.poml.problems import SECRET, Mark, Problems, TooMany, quoted, refusal
from omega.kernel.poml.tree import MAX_TEXT, Branch, Scalar, Value, read

MAX_NODES = 2_000
"""Most nodes of one document."""

_SEMANTIC = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}([-+][0-9A-Za-z.-]{1,40})?")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?")
_TOOL = re.compile(r"[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,64}")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Read = Callable[["_Reader", Value], Any]


class _Bad(Exception):
    """A value that was reported."""


def parse(text: str | bytes, *, name: str = "document") -> Document:
    """The document in `text`; `name` is the file shown in errors.

    Raises DefinitionError whose cause is the first problem with file, line and column, and whose `details["problems"]` lists all of them
    (`problems_of`): OMG-L001 unreadable, L002 over a limit, L003 shape, L004 unknown name, L005 way round, L007 plaintext secret,
    L009 expression, L010 another format version.
    """
    problems = Problems(name)
    document: Document | None = None
    try:
        if isinstance(text, bytes):
            text = _decoded(text, problems)
        if len(text) <= MAX_TEXT:
            _find_secrets(text, problems)
        root = read(text, problems)
        document = None if root is None else _Reader(problems, root).document()
    except (TooMany, _Bad):
        document = None
    if document is None or problems.found:
        raise refusal(problems.found)
    return document


def _decoded(data: bytes, problems: Problems) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add("OMG-L001", Mark(line, 1), f"byte {error.start} is no UTF-8", expected="a text in UTF-8")
        raise _Bad from error


def _find_secrets(text: str, problems: Problems) -> None:
    """Comments too: a document is shared, and what was pasted into it has leaked."""
    for match in SECRET.finditer(text):
        at = Mark(text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start()))
        problems.add("OMG-L007", at, "this looks like a secret", expected="a reference such as {env: NAME} under `secrets`")


class _Reader:
    """Reads one tree. Every method that takes a value returns what it means or raises _Bad after reporting."""

    def __init__(self, problems: Problems, root: Branch) -> None:
        self.problems = problems
        self.root = root
        self.places: dict[int, tuple[Mark, bool]] = {}  # of expressions: where they begin, and whether offsets count from there

    def document(self) -> Document | None:
        top = self.mapping(self.root, _TOP, "key of a document", required=("poml", "name", "nodes"))
        nodes: dict[str, Node] = top.get("nodes", {})
        connect = top.get("connect")
        written = {item.key for item in self.root.items}
        connect_at = next((item.value.at for item in self.root.items if item.key == "connect"), self.root.at)
        if "connect" not in written:
            if len(nodes) > 1:
                self.problems.add("OMG-L003", self.root.at, "nothing says how the nodes are joined", expected="connect: a -> b")
            elif nodes:
                connect = Chain((Name(next(iter(nodes))),))
        named = next((item.value for item in self.root.items if item.key == "nodes"), None)
        names = {item.key for item in named.items} if isinstance(named, Branch) else set()
        graph = Graph(nodes, names, connect, self.place, self.problems)
        graph.check_names()
        servers = self.servers()
        if connect is None or self.problems.found:
            return None
        graph.check_shape(connect)
        return Document(
            file=self.problems.file,
            name=top["name"],
            version=top.get("version", "1.0.0"),
            description=top.get("description", ""),
            nodes=nodes,
            connect=connect,
            connect_at=connect_at,
            types=top.get("types", {}),
            input=top.get("input"),
            output=top.get("output"),
            secrets=top.get("secrets", {}),
            servers=servers,
            tree=self.root,
        )

    # -- shapes

    def bad(self, value: Value | Mark, message: str, expected: str, code: str = "OMG-L003") -> _Bad:
        """Report; the caller raises what is returned."""
        self.problems.add(code, value if isinstance(value, Mark) else value.at, message, expected=expected)
        return _Bad()

    def branch(self, value: Value, expected: str, *, keyed: bool) -> Branch:
        if not isinstance(value, Branch) or value.keyed is not keyed:
            raise self.bad(value, f"{_what(value)} stands here", expected)
        return value

    def mapping(self, value: Value, known: Mapping[str, Read], what: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
        """A mapping with known keys, in order; what is wrong inside is reported and left out."""
        branch = self.branch(value, f"a mapping with {', '.join(required or known)}", keyed=True)
        result: dict[str, Any] = {}
        for item in branch.items:
            if item.key not in known:
                self.problems.unknown("OMG-L003", item.at, what, item.key, known)
                continue
            self.into(result, item.key, known[item.key], item.value)
        for key in required:
            if key not in {item.key for item in branch.items}:
                self.problems.add("OMG-L003", branch.at, f"the key `{key}` is missing", expected=f"a mapping with {', '.join(required)}")
        return result

    def into(self, result: dict[str, Any], key: str, reader: Read, value: Value) -> None:
        try:
            result[key] = reader(self, value)
        except _Bad:
            return

    def named(self, value: Value, reader: Read, pattern: re.Pattern[str], what: str) -> dict[str, Any]:
        """A mapping from names to values of one shape."""
        result: dict[str, Any] = {}
        for item in self.branch(value, f"a mapping from names to {what}s", keyed=True).items:
            if not pattern.fullmatch(item.key):
                self.problems.add(
                    "OMG-L003", item.at, f"{quoted(item.key)} cannot be the name of a {what}", expected="letters, digits, _, -, ."
                )
                continue
            self.into(result, item.key, reader, item.value)
        return result

    def scalar(self, value: Value, kind: type, expected: str) -> Any:
        found = value.value if isinstance(value, Scalar) else None
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            return float(found)
        if not isinstance(value, Scalar) or type(found) is not kind:
            raise self.bad(value, f"{_what(value)} stands here", expected)
        return found

    def matching(self, value: Value, pattern: re.Pattern[str], expected: str) -> str:
        text: str = self.scalar(value, str, expected)
        if not pattern.fullmatch(text):
            raise self.bad(value, f"{quoted(text)} is none", expected)
        return text

    # -- values

    def chain(self, value: Value) -> Chain:
        text: str = self.scalar(value, str, "a node, or an expression such as a -> [b, c]")
        exact = isinstance(value, Scalar) and value.single_line
        try:
            chain = parse_chain(text)
        except NotAnExpression as error:
            at = value.at.right(error.offset) if exact else value.at
            raise self.bad(at, error.message, error.expected, "OMG-L009") from error
        self.places[id(chain)] = (value.at, exact)
        return chain

    def place(self, chain: Chain, name: Name) -> Mark:
        """Where a name of an expression stands; of one over several lines, where the expression begins."""
        at, exact = self.places.get(id(chain), (self.root.at, False))
        return at.right(name.offset) if exact else at

    def chains(self, value: Value) -> tuple[Chain, ...]:
        if isinstance(value, Scalar):
            return (self.chain(value),)
        branch = self.branch(value, "a list of nodes", keyed=False)
        if not branch.items:
            raise self.bad(value, "the list is empty", "at least one node")
        return tuple(self.chain(item.value) for item in branch.items)

    def duration(self, value: Value) -> float:
        expected = "a duration such as 500ms, 30s, 2m, 1h"
        if not isinstance(value, Scalar) or type(value.value) not in (str, int, float):
            raise self.bad(value, f"{_what(value)} stands here", expected)
        try:
            limit = seconds(value.value)
        except DefinitionError as error:
            raise self.bad(value, f"{quoted(str(value.value))} is no duration", expected) from error
        return limit if isinstance(value.value, str) else value.value  # a bare number stays what it is: digests tell 1 from 1.0

    def pause(self, value: Value) -> float:
        """A duration that may be zero."""
        zero = isinstance(value, Scalar) and type(value.value) in (int, float) and value.value == 0
        return value.value if zero and isinstance(value, Scalar) else self.duration(value)

    def count(self, value: Value, most: int) -> int:
        number: int = self.scalar(value, int, f"a whole number from 1 to {most:,}")
        if not 1 <= number <= most:
            raise self.bad(value, f"{number} is out of range", f"a whole number from 1 to {most:,}")
        return number

    def text(self, value: Value) -> str:
        text: str = self.scalar(value, str, "a text")
        return text

    def schema(self, value: Value) -> Mapping[str, Any]:
        branch = self.branch(value, "a JSON Schema", keyed=True)
        self._local(branch)
        data: Mapping[str, Any] = plain_of(branch)
        return data

    def _local(self, branch: Branch) -> None:
        """Nothing outside the document is fetched to know what a type means."""
        for item in branch.items:
            if isinstance(item.value, Branch):
                self._local(item.value)
            elif item.key in ("$ref", "$dynamicRef") and not str(item.value.value).startswith("#"):
                self.problems.add("OMG-L003", item.value.at, "a reference that leaves the document", expected="#/$defs/...")

    def typed(self, value: Value) -> Typed:
        if isinstance(value, Scalar):
            return Typed(self.scalar(value, str, "the name of a type, or a JSON Schema"), {}, value.at)
        return Typed("", self.schema(value), value.at)

    def version(self, value: Value) -> str:
        return self.matching(value, _SEMANTIC, "three numbers, such as 1.2.3")

    def format_version(self, value: Value) -> str:
        expected = f"{SCHEMA_VERSION}: every 2.0.x is read; a file of 2.1 or later needs a newer release"
        text = value.value if isinstance(value, Scalar) and isinstance(value.value, str) else _what(value)
        if not re.fullmatch(r"2\.0\.\d{1,9}", text):
            self.problems.add(
                "OMG-L010", value.at, f"format version {quoted(text)} is not read here", expected=expected, suggestion=SCHEMA_VERSION
            )
            raise _Bad
        return text

    def secret(self, value: Value) -> str:
        """The environment variable; what stands there instead is never repeated."""
        keys = [item.key for item in value.items] if isinstance(value, Branch) and value.keyed else []
        if keys != ["env"]:
            raise self.bad(value, "a secret is given by reference only", "{env: NAME}", "OMG-L007")
        variable = value.items[0].value if isinstance(value, Branch) else value
        if not isinstance(variable, Scalar) or not isinstance(variable.value, str) or not _VARIABLE.fullmatch(variable.value):
            raise self.bad(variable, "no name of an environment variable", "{env: NAME}", "OMG-L007")
        return variable.value

    def reference(self, value: Value) -> tuple[str, Mark]:
        if not isinstance(value, Scalar) or not isinstance(value.value, str) or not _VARIABLE.fullmatch(value.value):
            raise self.bad(value, "a secret is given by the name of an entry of `secrets`", "such a name", "OMG-L007")
        return value.value, value.at

    def servers(self) -> dict[str, ToolServer]:
        """The servers, with each secret looked up."""
        branch = next((item.value for item in self.root.items if item.key == "servers"), None)
        secrets = next((item.value for item in self.root.items if item.key == "secrets"), None)
        known = {item.key for item in secrets.items} if isinstance(secrets, Branch) else set()
        result: dict[str, ToolServer] = {}
        for item in branch.items if isinstance(branch, Branch) else ():
            fields = self.mapping(item.value, _SERVER, "key of a server")
            if ("command" in fields) == ("url" in fields):
                self.problems.add("OMG-L003", item.at, f"server {quoted(item.key)} needs one of two", expected="either `command` or `url`")
            for name, at in [*fields.get("env", {}).values(), *fields.get("headers", {}).values()]:
                if name not in known:
                    near = sorted(known)
                    self.problems.add(
                        "OMG-L007", at, "no entry of `secrets` has this name", expected=f"one of: {', '.join(near)}" if near else ""
                    )
            references = {side: {key: name for key, (name, _) in fields.get(side, {}).items()} for side in ("env", "headers")}
            timeout = fields.get("timeout", 60.0)
            result[item.key] = ToolServer(item.key, fields.get("command", ()), fields.get("url", ""), **references, timeout_s=timeout)
        return result

    # -- nodes

    def nodes(self, value: Value) -> dict[str, Node]:
        branch = self.branch(value, "a mapping from names to nodes", keyed=True)
        if not branch.items:
            raise self.bad(value, "there is no node", "at least one")
        if len(branch.items) > MAX_NODES:
            raise self.bad(value, f"{len(branch.items):,} nodes", f"at most {MAX_NODES:,}: split the document", "OMG-L002")
        result: dict[str, Node] = {}
        for item in branch.items:
            if not NODE.fullmatch(item.key):
                expected = "letters, digits, _, -, . after a letter, at most 64"
                self.problems.add("OMG-L003", item.at, f"{quoted(item.key)} cannot be the name of a node", expected=expected)
                continue
            try:
                result[item.key] = self.node(item.key, item.at, item.value)
            except _Bad:
                continue
        return result

    def node(self, key: str, at: Mark, value: Value) -> Node:
        branch = self.branch(value, f"a mapping with one of {', '.join(_KINDS)}", keyed=True)
        kinds = [item.key for item in branch.items if item.key in _KINDS]
        if len(kinds) != 1:
            given = [item.key for item in branch.items if item.key not in _OPTIONS | _COMMON]
            if not kinds and given:
                place = next(item.at for item in branch.items if item.key == given[0])
                self.problems.unknown("OMG-L003", place, f"kind of node {quoted(key)}:", given[0], _KINDS)
                raise _Bad
            raise self.bad(
                at, f"node {quoted(key)} is {' and '.join(kinds) if kinds else 'of no kind'}", f"exactly one of {', '.join(_KINDS)}"
            )
        kind = kinds[0]
        known = {kind: _KINDS[kind][0]} | _KINDS[kind][1] | _OPTIONS | _COMMON
        if kind not in LEAVES:
            known.pop("approve")
        before = len(self.problems.found)
        found = self.mapping(branch, known, f"key of {kind} node {quoted(key)}:", required=_KINDS[kind][2])
        if kind not in found or len(self.problems.found) > before:
            raise _Bad
        fields = {name: each for name, each in found.items() if name != kind and name not in _OPTIONS}
        return Node(key, kind, found[kind], at, fields, tuple((name, each) for name, each in found.items() if name in _OPTIONS))

    def retry(self, value: Value) -> Mapping[str, Any]:
        if isinstance(value, Scalar):
            return {"attempts": self.count(value, MAX_ATTEMPTS)}
        return self.strict(value, _RETRY, "key of retry", ("attempts",))

    def timeout(self, value: Value) -> Mapping[str, Any]:
        return {"after": self.duration(value)} if isinstance(value, Scalar) else self.strict(value, _TIMEOUT, "key of timeout", ("after",))

    def cache(self, value: Value) -> Mapping[str, Any]:
        return {"ttl": self.duration(value)} if isinstance(value, Scalar) else self.strict(value, _CACHE, "key of cache", ("ttl",))

    def question(self, value: Value) -> str | Chain:
        """A CEL expression, or `{by: node}`."""
        if isinstance(value, Scalar):
            return self.text(value)
        chain: Chain = self.strict(value, {"by": _Reader.chain}, "key of a question", ("by",))["by"]
        return chain

    def strict(self, value: Value, known: Mapping[str, Read], what: str, required: tuple[str, ...]) -> dict[str, Any]:
        """A mapping that counts only when all of it was right."""
        before = len(self.problems.found)
        found = self.mapping(value, known, what, required)
        if len(self.problems.found) > before:
            raise _Bad
        return found

    def cases(self, value: Value) -> Mapping[str, Chain]:
        branch = self.branch(value, "a mapping from case to node", keyed=True)
        if not branch.items:
            raise self.bad(value, "there is no case", "at least one")
        return {item.key: self.chain(item.value) for item in branch.items}

    def factor(self, value: Value) -> float:
        self.scalar(value, float, "a number of at least 1")
        number: float = value.value if isinstance(value, Scalar) else 0
        if number < 1:
            raise self.bad(value, f"{number:g} is too small", "a number of at least 1")
        return number

    def effect(self, value: Value) -> str:
        text = self.text(value)
        if text not in set(Effect):
            self.problems.unknown("OMG-L003", value.at, "effect", text, set(Effect))
            raise _Bad
        return text

    def flag(self, value: Value) -> bool:
        answer: bool = self.scalar(value, bool, "true or false")
        return answer

    def described(self, value: Value) -> Mapping[str, Any]:
        """What an agent or a person is given: kept as data."""
        data: Mapping[str, Any] = plain_of(self.branch(value, "a mapping", keyed=True))
        return data

    def words(self, value: Value) -> tuple[str, ...]:
        branch = self.branch(value, "a list of words", keyed=False)
        if not branch.items:
            raise self.bad(value, "the command is empty", "a program and its arguments")
        return tuple(self.text(item.value) for item in branch.items)

    def secrets_of(self, value: Value) -> dict[str, tuple[str, Mark]]:
        return self.named(value, _Reader.reference, re.compile(r"[A-Za-z0-9_-]{1,128}"), "variable")


def _what(value: Value) -> str:
    if isinstance(value, Branch):
        return "a mapping" if value.keyed else "a list"
    if value.value is None:
        return "nothing"
    if isinstance(value.value, str):
        return "a text"
    return quoted(value.literal or str(value.value)).strip("'")


_RETRY: dict[str, Read] = {
    "attempts": lambda reader, value: reader.count(value, MAX_ATTEMPTS),
    "backoff": _Reader.pause,
    "factor": _Reader.factor,
    "longest": _Reader.pause,
}
_TIMEOUT: dict[str, Read] = {"after": _Reader.duration, "otherwise": _Reader.chain}
_CACHE: dict[str, Read] = {"ttl": _Reader.duration, "reads": _Reader.flag}

_OPTIONS: dict[str, Read] = {
    "retry": _Reader.retry,
    "timeout": _Reader.timeout,
    "fallback": _Reader.chains,
    "cache": _Reader.cache,
    "approve": lambda reader, value: reader.matching(value, _ROLE, "a role: lower-case letters, digits and dashes"),
}
"""What wraps a node, the first written nearest to it."""

_COMMON: dict[str, Read] = {
    "name": lambda reader, value: reader.matching(value, NODE, "the name of a flow"),
    "version": _Reader.version,
    "description": _Reader.text,
}

LEAVES = frozenset({"flow", "tool", "agent", "human"})
"""Kinds of nodes that act themselves: only they can wait for an approval."""

_KINDS: dict[str, tuple[Read, dict[str, Read], tuple[str, ...]]] = {
    "flow": (lambda reader, value: reader.matching(value, _REFERENCE, "module:flow"), {}, ()),
    "tool": (
        lambda reader, value: reader.matching(value, _TOOL, "server/tool"),
        {
            "effect": _Reader.effect,
            "pin": lambda reader, value: reader.matching(value, re.compile(r"[0-9a-f]{8,128}"), "the digest of the tool's description"),
            "limit": _Reader.duration,
            "input": _Reader.typed,
            "output": _Reader.typed,
        },
        (),
    ),
    "when": (_Reader.question, {"then": _Reader.chain, "otherwise": _Reader.chain}, ("then",)),
    "switch": (_Reader.question, {"cases": _Reader.cases, "default": _Reader.chain}, ("cases",)),
    "foreach": (_Reader.chain, {"at_once": lambda reader, value: reader.count(value, MAX_ITEMS)}, ()),
    "parallel": (_Reader.chains, {}, ()),
    "race": (_Reader.chains, {}, ()),
    "sub": (_Reader.chain, {}, ()),
    "agent": (_Reader.described, {"input": _Reader.typed, "output": _Reader.typed}, ()),
    "human": (_Reader.described, {"input": _Reader.typed, "output": _Reader.typed}, ()),
}
"""Kind -> how its value is read, what else belongs to it, and what of that must be there."""

_SERVER: dict[str, Read] = {
    "command": _Reader.words,
    "url": lambda reader, value: reader.matching(
        value, re.compile(r"https?://[^\s@]{1,2000}"), "a url of http or https, without a password"
    ),
    "env": _Reader.secrets_of,
    "headers": _Reader.secrets_of,
    "timeout": _Reader.duration,
}

_TOP: dict[str, Read] = {
    "poml": _Reader.format_version,
    "name": lambda reader, value: reader.matching(value, NODE, "the name of a flow"),
    "version": _Reader.version,
    "description": _Reader.text,
    "types": lambda reader, value: reader.named(value, _Reader.schema, re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}"), "type"),
    "input": _Reader.typed,
    "output": _Reader.typed,
    "nodes": _Reader.nodes,
    "connect": _Reader.chain,
    "secrets": lambda reader, value: reader.named(value, _Reader.secret, _VARIABLE, "secret"),
    "servers": lambda reader, value: reader.named(
        value, lambda inner, each: inner.branch(each, "a server", keyed=True), re.compile(r"[A-Za-z0-9_.-]{1,64}"), "server"
    ),
}
