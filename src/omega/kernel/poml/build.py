"""From document to flow: every node becomes the flow it names, checked by the same combinators that Python uses.

The key of a node names the flow it stands for, so steps are recorded under the names that the document shows; options wrap it in the order
written, nearest first, without names of their own. Only `sub` is different: its key names the whole, options included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, get_origin

from omega.kernel import adapt, attempts, compose, learning, people, repeat, sagas
from omega.kernel.agents import agent
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Flow, In, Out, Tool, tool
from omega.kernel.errors import DefinitionError, InputError, OmegaError
from omega.kernel.poml.connect import Chain, Fork, Name
from omega.kernel.poml.document import Document, Node, ToolServer, Typed
from omega.kernel.poml.problems import Mark, Problem, Problems, TooMany, quoted, refusal
from omega.kernel.poml.schemas import misfit
from omega.kernel.servers import Server, server
from omega.kernel.types import ANY, Type, assignable, show, type_of

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


PLAIN_TYPES: dict[str, Any] = {show(each): each for each in _JSON_TYPES.values()} | {"Any": Any}
"""The Python types that a document may name without giving a schema."""


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
    leads nowhere, L011 a module that is not installed, OMG-F003 and F004 as for the same combinator written in Python.
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
        except InputError as error:  # a value in the document that the flow it is for does not take
            self.problems.add("OMG-L003", at, error.cause, expected="a value of the type that the flow takes")
            raise _Failed from error

    # -- expressions

    def chain(self, chain: Chain, at: Mark) -> AnyFlow:
        parts = [self.stage(stage, at) for stage in chain.stages]
        for left, right in pairwise(zip(chain.stages, parts, strict=True)):
            if not left[1].output.fits(right[1].input):
                self.mismatch(left, right, at)
                raise _Failed
            self.schemas(left, right, at)
        return compose.sequence(*parts)

    def stage(self, stage: Name | Fork, at: Mark) -> AnyFlow:
        if isinstance(stage, Fork):
            return compose.parallel(*(self.chain(chain, at) for chain in stage.chains))
        flow = self.attempt(stage.text, self.document.nodes[stage.text])
        if flow is None:
            raise _Failed
        return flow

    def schemas(self, left: tuple[Name | Fork, AnyFlow], right: tuple[Name | Fork, AnyFlow], at: Mark) -> None:
        """Where one of the two is known by its schema alone, the schemas must fit."""
        gives, takes = left[1].output, right[1].input
        if gives.given_schema is None and takes.given_schema is None:
            return
        found = misfit(gives.schema(), takes.schema())
        if found:
            ends = f"{self.end(left[0])} gives {gives.name}, {self.end(right[0])} takes {takes.name}: {found}"
            self.problems.add("OMG-L006", at, ends, expected="schemas that fit, or a node between the two that converts")
            raise _Failed

    def mismatch(self, left: tuple[Name | Fork, AnyFlow], right: tuple[Name | Fork, AnyFlow], at: Mark) -> None:
        ends = [
            f"{self.end(stage)} {verb} {kind.name}"
            for stage, verb, kind in ((left[0], "gives", left[1].output), (right[0], "takes", right[1].input))
        ]
        twice = left[1].output.name == right[1].input.name  # a schema under `types`, and the Python type of that name
        wanted = "one meaning of the name: leave it out of `types`" if twice else "types that fit, or a node between the two that converts"
        self.problems.add("OMG-L006", at, ", ".join(ends), expected=wanted)

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
            elif option != "approve":
                flow = self.heeding(flow, option, value, node)
        return flow

    def heeding(self, flow: AnyFlow, option: str, value: Any, node: Node) -> AnyFlow:
        """The options that heed time, others, and what comes after."""
        if option == "delay":
            return repeat.delay(flow, value)
        if option == "rate":
            more = {name: each for name, each in value.items() if name != "limit"}
            return adapt.rate_limited(flow, value["limit"], **more)
        if option == "breaker":
            more = {name: self.chain(each, node.at) if name == "otherwise" else each for name, each in value.items()}
            return adapt.breaker(flow, **more)
        if option == "attempt":
            return attempts.attempt(flow)
        return sagas.undoable(flow, self.chain(value, node.at))

    def python(self, node: Node) -> AnyFlow:
        try:
            found: Any = self.resolve(node.value)
        except (LookupError, OmegaError) as error:
            cause = error.cause if isinstance(error, OmegaError) else "no such flow"
            named = quoted(node.value)
            named = cause if cause.startswith(named) else f"{named}: {cause}"
            self.problems.add("OMG-L008", node.at, f"node {node.key}: {named}", expected="module:flow that can be imported")
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
            output=flow.output if result is None else self.result(result),
            _digest=[],
        )

    def when(self, node: Node) -> AnyFlow:
        otherwise = node.fields.get("otherwise")
        return compose.when(
            self.question(node, node.value),
            then=self.chain(node.fields["then"], node.at),
            otherwise=None if otherwise is None else self.chain(otherwise, node.at),
        )

    def switch(self, node: Node) -> AnyFlow:
        default = node.fields.get("default")
        cases = {case: self.chain(chain, node.at) for case, chain in node.fields["cases"].items()}
        return compose.switch(self.question(node, node.value), cases, default=None if default is None else self.chain(default, node.at))

    def question(self, node: Node, asked: Any) -> str | AnyFlow:
        return self.chain(asked, node.at) if isinstance(asked, Chain) else str(asked)

    def each(self, node: Node) -> AnyFlow:
        return compose.foreach(self.chain(node.value, node.at), at_once=node.fields.get("at_once", compose.AT_ONCE))

    def parallel(self, node: Node) -> AnyFlow:
        return compose.parallel(*(self.chain(chain, node.at) for chain in node.value))

    def race(self, node: Node) -> AnyFlow:
        return compose.race(*(self.chain(chain, node.at) for chain in node.value))

    def loop(self, node: Node) -> AnyFlow:
        return repeat.loop(
            self.chain(node.value, node.at), while_=self.question(node, node.fields["while"]), most=node.fields.get("most", repeat.ROUNDS)
        )

    def batch(self, node: Node) -> AnyFlow:
        return repeat.batch(self.chain(node.value, node.at), size=node.fields["size"], at_once=node.fields.get("at_once", compose.AT_ONCE))

    def scatter(self, node: Node) -> AnyFlow:
        return repeat.scatter(
            self.chain(node.value, node.at), queue=node.fields.get("queue", ""), at_once=node.fields.get("at_once", compose.AT_ONCE)
        )

    def reduce(self, node: Node) -> AnyFlow:
        return repeat.reduce(self.chain(node.value, node.at), start=node.fields.get("start", repeat.FIRST))

    def gather(self, node: Node) -> AnyFlow:
        start, reducer = node.fields.get("start", repeat.FIRST), self.chain(node.fields["reducer"], node.at)
        if isinstance(node.value, Chain):
            return repeat.gathered(self.chain(node.value, node.at), reducer, start=start)
        return repeat.gather(*(self.chain(chain, node.at) for chain in node.value), reducer=reducer, start=start)

    def saga(self, node: Node) -> AnyFlow:
        return sagas.saga(*(self.stage(stage, node.at) for stage in node.value.stages))

    def optimize(self, node: Node) -> AnyFlow:
        score = node.fields.get("score")
        return adapt.optimize(
            *(self.chain(chain, node.at) for chain in node.value),
            goal=node.fields.get("goal", "cost"),
            explore=node.fields.get("explore", 0.1),
            score=None if score is None else self.chain(score, node.at),
        )

    def tuned(self, node: Node) -> AnyFlow:
        try:
            return learning.tuned(self.chain(node.value, node.at), node.fields["parameters"])
        except InputError as error:
            self.problems.add("OMG-L003", node.at, f"node {node.key}: {error.cause}", expected="parameters that the flow takes")
            raise _Failed from error

    def learn(self, node: Node) -> AnyFlow:
        given = {name: node.fields[name] for name in ("held_out", "level", "seed", "at_once") if name in node.fields}
        given |= {"metric": self.chain(node.fields["metric"], node.at)} if "metric" in node.fields else {}
        return learning.learn(self.chain(node.value, node.at), **given)

    def human(self, node: Node) -> AnyFlow:
        asked, name = node.value, node.fields.get("name", node.key)
        source = ANY if "input" not in node.fields else self.type(node.fields["input"])
        result = ANY if "output" not in node.fields else self.result(node.fields["output"])
        message, within = asked.get("message", ""), asked.get("within", 0)
        if "approval" in asked:
            made = people.approval(asked["approval"], message, within=within, name=name)
            result = source if "input" not in node.fields else self.result(node.fields["input"])
        elif "form" in asked:
            result = self.result(asked["form"])
            made = people.form(Any, message=message, role=asked.get("role", ""), within=within, name=name)
        else:
            made = people.wait_for(asked["signal"], within=within, name=name)
        return replace(made, input=source, output=result, _digest=[])

    def agent(self, node: Node) -> AnyFlow:
        asked, source, result = dict(node.value), node.fields.get("input"), node.fields.get("output")
        tools = [self.chain(chain, node.at) for chain in asked.pop("tools", ())]
        for word in ("input_checks", "output_checks"):
            asked[word] = [self.chain(each, node.at) if isinstance(each, Chain) else each for each in asked.pop(word, ())]
        return agent(
            node.fields.get("name", node.key),
            **asked,
            tools=tools,
            input=ANY if source is None else self.type(source),
            output=str if result is None else self.result(result),
        )

    def module(self, node: Node) -> AnyFlow:
        name = str(node.value).partition("@")[0]
        self.problems.add(
            "OMG-L011", node.at, f"node {node.key}: the module {name} is not installed", expected="a module that is installed here"
        )
        raise _Failed

    # -- types

    def type(self, typed: Typed) -> Type:
        """A declared type: a JSON Schema here or by name; else a plain Python type, or one of the document's flows, by its name."""
        schema = typed.schema or self.document.types.get(typed.name)
        if schema is None:
            if typed.name in PLAIN_TYPES:
                return type_of(PLAIN_TYPES[typed.name])
            known = self.types_of_flows()
            if typed.name in known:
                return known[typed.name]
            self.problems.unknown("OMG-L004", typed.at, "type", typed.name, {*self.document.types, *known, *PLAIN_TYPES})
            raise _Failed
        self.check_schema(schema, typed)
        kind = schema.get("type")
        return Type(_JSON_TYPES.get(kind, Any) if isinstance(kind, str) else Any, schema, typed.name)

    def types_of_flows(self) -> dict[str, Type]:
        """The types that the document's Python flows take and give, by name; a name that two of them have is nobody's."""
        found: dict[str, Type] = {}
        unclear: set[str] = set()
        for node in self.document.nodes.values():
            for kind in self.ends_of(node):
                if found.setdefault(kind.name, kind).annotation != kind.annotation:
                    unclear.add(kind.name)
        return {name: kind for name, kind in found.items() if name not in unclear}

    def ends_of(self, node: Node) -> tuple[Type, ...]:
        """What a node's Python flow takes and gives; nothing where there is none, which is told where the node is made."""
        if node.kind != "flow":
            return ()
        try:
            found: Any = self.resolve(node.value)
        except (LookupError, OmegaError):
            return ()
        return (found.input, found.output) if isinstance(found, Flow) else ()

    def result(self, typed: Typed) -> Type:
        """The declared type of what comes from outside: its schema says what it is, so it joins by schema, not by Python type."""
        kind = self.type(typed)
        return kind if kind.given_schema is None else Type(Any, kind.given_schema, kind.name)

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
    "loop": _Builder.loop,
    "batch": _Builder.batch,
    "scatter": _Builder.scatter,
    "reduce": _Builder.reduce,
    "gather": _Builder.gather,
    "saga": _Builder.saga,
    "optimize": _Builder.optimize,
    "tuned": _Builder.tuned,
    "learn": _Builder.learn,
    "agent": _Builder.agent,
    "module": _Builder.module,
    "human": _Builder.human,
}
