"""From text to document: `parse` reads as much as it can and reports everything that is wrong at once.

What may stand where is a table (`KINDS`, `OPTIONS`, `_TOP`): a key and the function that reads its value. The JSON Schema beside this
module says the same for editors; a test holds the two together. What a schema cannot say follows: names that are there, no way round, a
size that stays bounded when nodes refer to nodes, secrets by reference only.
"""

from __future__ import annotations

import re

from omega.kernel.poml.connect import NODE, Chain, Name
from omega.kernel.poml.document import SCHEMA_VERSION, Document, Node, ToolServer
from omega.kernel.poml.graph import Graph
from omega.kernel.poml.kinds import COMMON, KINDS, LEAVES, OPTIONS
from omega.kernel.poml.problems import SECRET, Mark, Problems, TooMany, quoted, refusal
from omega.kernel.poml.tree import MAX_TEXT, Branch, Scalar, Value, read
from omega.kernel.poml.values import TYPE_NAME, VARIABLE, Bad, Read, Values

MAX_NODES = 2_000
"""Most nodes of one document."""

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.\d{1,9}")


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
    except (TooMany, Bad):
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
        raise Bad from error


def _find_secrets(text: str, problems: Problems) -> None:
    """Comments too: a document is shared, and what was pasted into it has leaked."""
    for match in SECRET.finditer(text):
        at = Mark(text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start()))
        problems.add("OMG-L007", at, "this looks like a secret", expected="a reference such as {env: NAME} under `secrets`")


class _Reader(Values):
    """Reads one document."""

    def document(self) -> Document | None:
        self.format(next((item.value for item in self.root.items if item.key == "poml"), None))
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

    def format(self, value: Value | None) -> None:
        """Which minor version of the format it is; another major one is not read any further.

        A minor version only adds keys and kinds. So one that is newer than this release is read as long as it uses none of what is new,
        and what is new is named where it is used (`Values.unknown`).
        """
        if value is None:
            return  # that it is missing is told with the other keys
        given = value.value if isinstance(value, Scalar) and isinstance(value.value, str) else ""
        match = _VERSION.fullmatch(given)
        if match is None:
            raise self.bad(value, f"{quoted(given) if given else 'this'} is no format version", f"{SCHEMA_VERSION}", "OMG-L010")
        major, self.minor = int(match[1]), int(match[2])
        if major == 2:
            return
        older = "converted by hand: see docs/poml.md, versions of the format"
        expected = f"{SCHEMA_VERSION}, {older if major < 2 else 'or a newer release'}"
        self.problems.add(
            "OMG-L010", value.at, f"format version {quoted(given)} is not read here", expected=expected, suggestion=SCHEMA_VERSION
        )
        raise Bad

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
            except Bad:
                continue
        return result

    def node(self, key: str, at: Mark, value: Value) -> Node:
        branch = self.branch(value, f"a mapping with one of {', '.join(KINDS)}", keyed=True)
        kinds = [item.key for item in branch.items if item.key in KINDS]
        if len(kinds) != 1:
            given = [item.key for item in branch.items if item.key not in OPTIONS | COMMON]
            if not kinds and given:
                place = next(item.at for item in branch.items if item.key == given[0])
                self.unknown(place, f"kind of node {quoted(key)}:", given[0], KINDS)
                raise Bad
            raise self.bad(
                at, f"node {quoted(key)} is {' and '.join(kinds) if kinds else 'of no kind'}", f"exactly one of {', '.join(KINDS)}"
            )
        kind = kinds[0]
        known = {kind: KINDS[kind][0]} | KINDS[kind][1] | OPTIONS | COMMON
        if kind not in LEAVES:
            known.pop("approve")
        before = len(self.problems.found)
        found = self.mapping(branch, known, f"key of {kind} node {quoted(key)}:", required=KINDS[kind][2])
        if kind not in found or len(self.problems.found) > before:
            raise Bad
        fields = {name: each for name, each in found.items() if name != kind and name not in OPTIONS}
        return Node(key, kind, found[kind], at, fields, tuple((name, each) for name, each in found.items() if name in OPTIONS))


_SERVER: dict[str, Read] = {
    "command": Values.words,
    "url": lambda reader, value: reader.matching(
        value, re.compile(r"https?://[^\s@]{1,2000}"), "a url of http or https, without a password"
    ),
    "env": Values.secrets_of,
    "headers": Values.secrets_of,
    "timeout": Values.duration,
}

_TOP: dict[str, Read] = {
    "poml": Values.text,
    "name": lambda reader, value: reader.matching(value, NODE, "the name of a flow"),
    "version": Values.version,
    "description": Values.text,
    "types": lambda reader, value: reader.named(value, Values.schema, TYPE_NAME, "type"),
    "input": Values.typed,
    "output": Values.typed,
    "nodes": lambda reader, value: reader.nodes(value) if isinstance(reader, _Reader) else {},
    "connect": Values.chain,
    "secrets": lambda reader, value: reader.named(value, Values.secret, VARIABLE, "secret"),
    "servers": lambda reader, value: reader.named(
        value, lambda inner, each: inner.branch(each, "a server", keyed=True), re.compile(r"[A-Za-z0-9_.-]{1,64}"), "server"
    ),
}
