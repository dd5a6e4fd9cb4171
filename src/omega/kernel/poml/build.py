"""From document to flow: every node becomes the flow it names, checked by the same combinators that Python uses.

The key of a node names the flow it stands for, so steps are recorded under the names that the document shows; options wrap it in the order
written, nearest first, without names of their own. Only `sub` is different: its key names the whole, options included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, get_origin

from omega.kernel import compose
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Flow, In, Out, Tool
from omega.kernel.errors import DefinitionError, OmegaError
from omega.kernel.flow import tool
from omega.kernel.poml.connect import Chain, Fork, Name
from omega.kernel.poml.document import Document, Node, ToolServer, Typed
from omega.kernel.poml.problems import Mark, Problem, Problems, TooMany, quoted, refusal
from omega.kernel.servers import Server, server
from omega.kernel.types import Type, assignable, show, type_of

Resolve = Callable[[str], AnyFlow]
"""Gives the flow that `module:name` refers to. Raises LookupError or an OmegaError when there is none."""

_JSON_TYPES: dict[str, Any] = {
    "array": list[Any],
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": float,
    "object": dict[str, Any],
    "string": str,
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Described(Flow[In, Out]):
    """A flow that remembers the document it was made from; `made` is its digest at that moment, so that a change is noticed."""

    source: Document | None = None
    made: str = ""


class _Failed(Exception):
    """A node cannot be made; why is reported."""


def to_flow(document: Document, resolve: Resolve) -> AnyFlow:
    """The flow that `document` describes; `resolve` finds the Python flows it refers to.

    Raises DefinitionError with every problem and its line: OMG-L006 types that do not fit (both ends are named), L008 a reference that
    leads nowhere, L011 a node that cannot run yet, OMG-F003 and F004 as for the same combinator written in Python.
    """
    problems = Problems(document.file)
    flow: AnyFlow | None = None
    try:
        flow = _Builder(document, resolve, problems).whole()
    except (TooMany, _Failed):
        flow = None
    if flow is None or problems.found:
        raise refusal(problems.found)
    given = {each.name: getattr(flow, each.name) for each in fields(Flow)} | {"_digest": []}
    return Described(**given, source=document, made=flow.digest)


def check(document: Document, resolve: Resolve) -> tuple[Problem, ...]:
    """What keeps `document` from running; nothing when it can run."""
    try:
        to_flow(document, resolve)
    except DefinitionError as error:
        return tuple(Problem(**each) for each in error.details["problems"])
    return ()


def servers_of(document: Document) -> list[Server]:
    """The tool servers that the document declares, secrets as references to the environment."""

    def declared(each: ToolServer) -> Server:
        env, headers = ({key: f"env:{document.secrets[name]}" for key, name in side.items()} for side in (each.env, each.headers))
        return server(each.name, each.argv, url=each.url, env=env, headers=headers, timeout_s=each.timeout_s)

    return [declared(each) for each in document.servers.values()]


class _Builder:
    """Makes each node once; a node that failed is not reported a second time."""

    def __init__(self, document: Document, resolve: Resolve, problems: Problems) -> None:
        self.document, self.resolve, self.problems = document, resolve, problems
        self.made: dict[str, AnyFlow | None] = {}

    def whole(self) -> AnyFlow:
        document = self.document
        for key, node in document.nodes.items():  # all of them, so that each is reported
            self.attempt(key, node)
        flow = self.guard(document.connect_at, self.chain, document.connect, document.connect_at)
        flow = replace(flow, input=self.side("input", document.input, flow.input), output=self.side("output", document.output, flow.output))
        return flow.named(document.name, version=document.version, description=document.description)

    def attempt(self, key: str, node: Node) -> AnyFlow | None:
        if key not in self.made:
            try:
                self.made[key] = self.guard(node.at, self.node, node)
            except _Failed:
                self.made[key] = None
        return self.made[key]

    def guard(self, at: Mark, make: Callable[..., AnyFlow], *arguments: Any) -> AnyFlow:
        """What `make` gives; an error of a combinator becomes a problem of the place."""
        try:
            return make(*arguments)
        except DefinitionError as error:
            code = "OMG-L006" if error.code == "OMG-F001" else error.code
            self.problems.add(code, at, error.cause, expected=error.advice if error.code != "OMG-F001" else "types that fit")
            raise _Failed from error

    # -- expressions

    def chain(self, chain: Chain, at: Mark) -> AnyFlow:
        parts = [self.stage(stage, at) for stage in chain.stages]
        for left, right in pairwise(zip(chain.stages, parts, strict=True)):
            if not left[1].output.fits(right[1].input):
                self.mismatch(left, right, at)
                raise _Failed
        return compose.sequence(*parts)

    def stage(self, stage: Name | Fork, at: Mark) -> AnyFlow:
        if isinstance(stage, Fork):
            return compose.parallel(*(self.chain(chain, at) for chain in stage.chains))
        flow = self.attempt(stage.text, self.document.nodes[stage.text])
        if flow is None:
            raise _Failed
        return flow

    def mismatch(self, left: tuple[Name | Fork, AnyFlow], right: tuple[Name | Fork, AnyFlow], at: Mark) -> None:
        ends = [
            f"{self.end(stage)} {verb} {kind.name}"
            for stage, verb, kind in ((left[0], "gives", left[1].output), (right[0], "takes", right[1].input))
        ]
        self.problems.add("OMG-L006", at, ", ".join(ends), expected="types that fit, or a node between the two that converts")

    def end(self, stage: Name | Fork) -> str:
        """A stage as an error names it: with the lines of its nodes."""
        names = [stage] if isinstance(stage, Name) else [name for chain in stage.chains for name in chain.names()]
        shown = ", ".join(f"{name.text} (line {self.document.nodes[name.text].at.line})" for name in names[:8])
        return shown if isinstance(stage, Name) else f"[{shown}]"

    # -- nodes

    def node(self, node: Node) -> AnyFlow:
        name = node.fields.get("name", node.key)
        if node.kind == "sub":
            return self.titled(self.options(self.chain(node.value, node.at), node), node, name)
        flow = self.titled(_MAKERS[node.kind](self, node), node, name)
        role = dict(node.options).get("approve")
        return self.options(flow if role is None else flow.approved_by(role), node)

    @staticmethod
    def titled(flow: AnyFlow, node: Node, name: str) -> AnyFlow:
        return flow.named(name, version=node.fields.get("version"), description=node.fields.get("description"))

    def options(self, flow: AnyFlow, node: Node) -> AnyFlow:
        for option, value in node.options:
            if option == "retry":
                names = {"attempts": "attempts", "backoff": "backoff_s", "factor": "factor", "longest": "longest_s"}
                flow = compose.retry(flow, **{names[key]: each for key, each in value.items()})
            elif option == "timeout":
                other = None if "otherwise" not in value else self.chain(value["otherwise"], node.at)
                flow = compose.timeout(flow, value["after"], otherwise=other)
            elif option == "fallback":
                flow = compose.fallback(flow, *(self.chain(chain, node.at) for chain in value))
            elif option == "cache":
                flow = compose.cache(flow, ttl_s=value["ttl"], reads=value.get("reads", False))
        return flow

    def python(self, node: Node) -> AnyFlow:
        try:
            found: Any = self.resolve(node.value)
        except (LookupError, OmegaError) as error:
            cause = error.cause if isinstance(error, OmegaError) else "no such flow"
            self.problems.add(
                "OMG-L008", node.at, f"node {node.key}: {quoted(node.value)}: {cause}", expected="module:flow that can be imported"
            )
            raise _Failed from error
        if not isinstance(found, Flow):
            self.problems.add("OMG-L008", node.at, f"node {node.key}: {quoted(node.value)} is no flow", expected="a function with @flow")
            raise _Failed
        return found

    def tool(self, node: Node) -> AnyFlow:
        name, _, method = node.value.partition("/")
        flow = tool(name, method, effect=node.fields.get("effect", ""), timeout_s=node.fields.get("limit", 60.0))
        body = flow.body
        if isinstance(body, Tool) and "pin" in node.fields:
            body = replace(body, pin=node.fields["pin"])
        source, result = node.fields.get("input"), node.fields.get("output")
        return replace(
            flow,
            body=body,
            input=flow.input if source is None else self.type(source),
            output=flow.output if result is None else self.type(result),
            _digest=[],
        )

    def when(self, node: Node) -> AnyFlow:
        otherwise = node.fields.get("otherwise")
        return compose.when(
            self.question(node),
            then=self.chain(node.fields["then"], node.at),
            otherwise=None if otherwise is None else self.chain(otherwise, node.at),
        )

    def switch(self, node: Node) -> AnyFlow:
        default = node.fields.get("default")
        cases = {case: self.chain(chain, node.at) for case, chain in node.fields["cases"].items()}
        return compose.switch(self.question(node), cases, default=None if default is None else self.chain(default, node.at))

    def question(self, node: Node) -> str | AnyFlow:
        return self.chain(node.value, node.at) if isinstance(node.value, Chain) else str(node.value)

    def each(self, node: Node) -> AnyFlow:
        return compose.foreach(self.chain(node.value, node.at), at_once=node.fields.get("at_once", compose.AT_ONCE))

    def parallel(self, node: Node) -> AnyFlow:
        return compose.parallel(*(self.chain(chain, node.at) for chain in node.value))

    def race(self, node: Node) -> AnyFlow:
        return compose.race(*(self.chain(chain, node.at) for chain in node.value))

    def waiting(self, node: Node) -> AnyFlow:
        expected = "a flow or tool node; the document is kept as it is"
        self.problems.add("OMG-L011", node.at, f"node {node.key} is of kind {node.kind}, which cannot run yet", expected=expected)
        raise _Failed

    # -- types

    def type(self, typed: Typed) -> Type:
        """A declared type: a JSON Schema here or by name, or the plain Python types by theirs."""
        schema = typed.schema or self.document.types.get(typed.name)
        if schema is None:
            known = {show(each): each for each in _JSON_TYPES.values()} | {"Any": Any}
            if typed.name in known:
                return type_of(known[typed.name])
            self.problems.unknown("OMG-L004", typed.at, "type", typed.name, [*self.document.types, *known])
            raise _Failed
        self.check_schema(schema, typed)
        kind = schema.get("type")
        return Type(_JSON_TYPES.get(kind, Any) if isinstance(kind, str) else Any, schema, typed.name)

    def check_schema(self, schema: Mapping[str, Any], typed: Typed) -> None:
        import jsonschema  # noqa: PLC0415 - a document that gives no schema need not wait for it

        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            path = ".".join(str(part) for part in error.absolute_path)
            message = f"no JSON Schema{f' at {quoted(path)}' if path else ''}"
            self.problems.add("OMG-L003", typed.at, message, expected="JSON Schema 2020-12")
            raise _Failed from error

    def side(self, side: str, typed: Typed | None, found: Type) -> Type:
        """The input or output of the whole: declared and found must agree; a declared schema counts where nothing better is known."""
        if typed is None or typed.name == found.name:
            return found
        if typed.schema or typed.name in self.document.types:
            declared = self.type(typed)
            if _agree(declared.annotation, found.annotation):
                return declared if found.given_schema is None and found.annotation in _LOOSE else found
        stage = self.document.connect.stages[-1 if side == "output" else 0]
        given = quoted(typed.name) if typed.name else f"a schema of type {typed.schema.get('type')}"
        message = f"the {side} is declared as {given} (line {typed.at.line}), {self.end(stage)} has {found.name}"
        self.problems.add("OMG-L006", typed.at, message, expected=found.name)
        raise _Failed


_LOOSE = (Any, dict, list, dict[str, Any], list[Any])


def _agree(declared: Any, found: Any) -> bool:
    """Whether values of a Python type can be of a schema's JSON type."""
    if assignable(declared, found) or assignable(found, declared):
        return True
    if declared == dict[str, Any]:
        return hasattr(found, "model_fields") or hasattr(found, "__dataclass_fields__") or hasattr(found, "__total__")
    return declared == list[Any] and (get_origin(found) or found) in (tuple, set, frozenset)


_MAKERS: dict[str, Callable[[_Builder, Node], AnyFlow]] = {
    "flow": _Builder.python,
    "tool": _Builder.tool,
    "when": _Builder.when,
    "switch": _Builder.switch,
    "foreach": _Builder.each,
    "parallel": _Builder.parallel,
    "race": _Builder.race,
    "agent": _Builder.waiting,
    "human": _Builder.waiting,
}
