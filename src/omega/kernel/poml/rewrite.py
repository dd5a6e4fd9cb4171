"""From flow to document. A flow that came from a document and was not changed gives that very document back, comments and all.

Any other flow is written down from its parts: composites without a name of their own become arrows and brackets, wrappers become options,
everything else a node under its name (`name-2` where another node has it). What a document holds beside the flow (types, secrets, servers,
comments) is taken over from the document the flow once came from, under the keys that are still there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, get_origin

from omega.kernel.adapt import Breaker, Optimize, RateLimited
from omega.kernel.agents import Agent, Asking, usual_turns
from omega.kernel.attempts import Attempt
from omega.kernel.compose import AT_ONCE, AnyFlow, Cache, Fallback, Foreach, Parallel, Race, Retry, Sequence, Switch, Timeout, When, seconds
from omega.kernel.definition import Body, Flow, Task, Tool
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.expressions import Expression
from omega.kernel.guardrails import guard_of
from omega.kernel.learning import Learn, Tuned
from omega.kernel.people import Approval, Awaited, Form, Person
from omega.kernel.poml.build import PLAIN_TYPES, Described
from omega.kernel.poml.document import SCHEMA_VERSION, Document
from omega.kernel.poml.layout import carry_comments, lay_out, tree_of
from omega.kernel.poml.reader import parse
from omega.kernel.poml.tree import Branch
from omega.kernel.poml.values import TYPE_NAME
from omega.kernel.repeat import ROUNDS, Batch, Delay, Loop, Reduce, Scatter
from omega.kernel.sagas import Saga, Undoable
from omega.kernel.streams import Stream
from omega.kernel.types import Type

Refer = Callable[[AnyFlow], str]
"""Gives the `module:name` under which a Python leaf is found again."""

_WRAPPERS = (Retry, Timeout, Fallback, Cache, Delay, RateLimited, Breaker, Attempt, Undoable)


def from_flow(flow: AnyFlow, *, refer: Refer | None = None) -> Document:
    """The document of `flow`.

    Raises DefinitionError: OMG-L012 for a leaf that no `module:name` leads to (a lambda, a function inside a function, something of
    `__main__`) unless `refer` names it, OMG-L002 for a flow over the limits of a document.
    """
    source = flow.source if isinstance(flow, Described) else None
    if source is not None and isinstance(flow, Described) and flow.digest == flow.made and flow.description == source.description:
        return source
    tree = tree_of(_Writer(refer or reference).document(flow, source))
    if not isinstance(tree, Branch):
        raise TypeError("a document is a mapping")
    if source is not None:
        carry_comments(source.tree, tree)
    return parse(lay_out(tree), name=source.file if source is not None else f"{flow.name}.poml")


def reference(flow: AnyFlow) -> str:
    """`module:name` of a Python leaf.

    Raises DefinitionError (OMG-L012) where an import would not find it, or would find it with other needs, another effect or other types:
    a document that left those out would ask for less.
    """
    body = flow.body
    function = body.source if isinstance(body, Stream) else body.function if isinstance(body, Task) else None
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not module or module == "__main__" or "<" in name:
        raise DefinitionError("OMG-L012", f"{flow.name} ({flow.where}) cannot be found again by an import")
    there = _found(function, name)
    other = [] if there is None else [part for part, was, now in _meanings(there, flow) if was != now]
    if other:
        raise DefinitionError(
            "OMG-L012",
            f"{flow.name} ({flow.where}) is not what {module}:{name} names: {', '.join(other)} differ",
            advice="say it where the flow is defined",
        )
    return f"{module}:{name}"


def _found(function: Any, name: str) -> AnyFlow | None:
    """The flow that stands under the name of `function` in its module; None where something else does, or nothing."""
    first, *rest = name.split(".")
    found = getattr(function, "__globals__", {}).get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found if isinstance(found, Flow) else None


def _meanings(there: AnyFlow, here: AnyFlow) -> list[tuple[str, Any, Any]]:
    """What a reference says of a leaf without naming it: each part there and here."""
    return [
        ("kind", there.body.kind, here.body.kind),
        ("needs", there.needs, here.needs),
        ("effect", there.effect, here.effect),
        ("egress", there.egress, here.egress),
        ("input", there.input.name, here.input.name),
        ("output", there.output.name, here.output.name),
    ]


class _Writer:
    """Collects nodes; equal flows share one node, but within one expression each place has a node of its own."""

    def __init__(self, refer: Refer) -> None:
        self.refer = refer
        self.nodes: dict[str, dict[str, Any]] = {}
        self.keys: dict[tuple[str, str], list[str]] = {}
        self.types: dict[str, Any] = {}

    def document(self, flow: AnyFlow, source: Document | None) -> dict[str, Any]:
        known = source.plain if source is not None else {}
        self.types = dict(known.get("types", {}))
        spread = isinstance(flow.body, Sequence | Parallel) and _folding(flow) is None
        connect = self.stages(flow, set()) if spread else self.key(flow, set())
        sides = {side: self.side(getattr(flow, side)) for side in ("input", "output") if self.told(side, flow, source)}
        head = {"poml": SCHEMA_VERSION, "name": flow.name}
        head |= {"version": flow.version} if flow.version != "1.0.0" or "version" in known else {}
        head |= {"description": flow.description} if flow.description else {}
        parts = {"types": self.types, **sides, "servers": known.get("servers"), "secrets": known.get("secrets")}
        parts |= {"nodes": self.nodes, "connect": connect}
        whole = head | {key: value for key, value in parts.items() if value}
        order = [key for key in known if key in whole] + [key for key in whole if key not in known]
        return {key: whole[key] for key in order}

    @staticmethod
    def told(side: str, flow: AnyFlow, source: Document | None) -> bool:
        """Whether a type is written down: where nobody left it out, or it is known from here alone."""
        return source is None or getattr(source, side) is not None or getattr(flow, side).given_schema is not None

    def side(self, kind: Type) -> Any:
        if kind.given_schema is None:
            return "" if kind.annotation is Any else kind.name
        return self.type(kind)

    def type(self, kind: Type) -> Any:
        """How a type is written: its schema, or its name where it has one of its own."""
        if kind.given_schema is None:
            return kind.name
        schema = dict(kind.given_schema)
        if kind.name == Type(kind.annotation).name or kind.name in PLAIN_TYPES:
            return schema
        if self.types.setdefault(kind.name, schema) != schema:
            raise DefinitionError("OMG-L012", f"two types are called {kind.name}")
        return kind.name

    # -- expressions

    def chain(self, flow: AnyFlow, used: set[str]) -> str:
        spread = _anonymous(flow) and isinstance(flow.body, Sequence) and _folding(flow) is None
        return self.stages(flow, used) if spread else self.stage(flow, used)

    def stages(self, flow: AnyFlow, used: set[str]) -> str:
        """What a sequence or parallel consists of, whatever it is called."""
        if isinstance(flow.body, Sequence):
            return " -> ".join(self.stage(part, used) for part in flow.body.flows)
        return f"[{', '.join(self.chain(part, used) for part in flow.children)}]"

    def stage(self, flow: AnyFlow, used: set[str]) -> str:
        if _anonymous(flow) and isinstance(flow.body, Parallel):
            return self.stages(flow, used)
        return self.key(flow, used)

    def expression(self, flow: AnyFlow) -> str:
        return self.chain(flow, set())

    # -- nodes

    def key(self, flow: AnyFlow, used: set[str]) -> str:
        """The node of a flow, made where there is none or its place in this expression is taken."""
        known = self.keys.setdefault((flow.digest, flow.description), [])
        key = next((each for each in known if each not in used), None)
        if key is None:
            core, options = _peel(flow)
            name = core.name if _direct(flow, core) else flow.name
            key = self.free(name)
            self.nodes[key] = {}  # before its parts, so that they are written below it
            self.nodes[key] = self.node(flow, core, options) | ({"name": name} if key != name else {})
            known.append(key)
        used.add(key)
        return key

    def free(self, name: str) -> str:
        key, number = name, 2
        while key in self.nodes:
            stem = name[: 60 - len(str(number))] if "/" not in name else name.replace("/", "-")[: 60 - len(str(number))]
            key, number = f"{stem}-{number}", number + 1
        return key

    def node(self, flow: AnyFlow, core: AnyFlow, options: list[AnyFlow]) -> dict[str, Any]:
        if _direct(flow, core):
            fields, titled = self.body(core), core
            fields |= {"approve": core.approver_role} if core.approver_role and not isinstance(core.body, Person) else {}
        else:
            inner = self.stages(core, set()) if core is flow else self.expression(core)
            fields, titled = {"sub": inner}, flow
        fields |= {"version": titled.version} if titled.version != "1.0.0" else {}
        fields |= {"description": titled.description} if titled.children and titled.description else {}
        for wrapper in options:
            fields |= self.option(wrapper)
        return fields

    def body(self, flow: AnyFlow) -> dict[str, Any]:
        body = flow.body
        if isinstance(body, Task):
            return {"flow": self.refer(flow)}
        if isinstance(body, Tool):
            return self.tool(flow, body)
        if isinstance(body, Agent):
            return self.agent(flow, body)
        if isinstance(body, When):
            return {"when": self.question(body.predicate), "then": self.expression(body.then)} | self.other("otherwise", body.otherwise)
        if isinstance(body, Switch):
            cases = {case: self.expression(part) for case, part in body.cases}
            return {"switch": self.question(body.selector), "cases": cases} | self.other("default", body.default)
        if isinstance(body, Parallel | Race):
            return {body.kind: [self.expression(part) for part in body.flows]}
        if isinstance(body, Person):
            return self.person(flow, body)
        return self.repeated(flow) | self.remembered(flow) or self.unknown(flow)

    @staticmethod
    def unknown(flow: AnyFlow) -> dict[str, Any]:
        kind, version = flow.body.kind, SCHEMA_VERSION
        raise DefinitionError("OMG-L012", f"{flow.name} is a {kind}, which a document of version {version} does not know")

    def repeated(self, flow: AnyFlow) -> dict[str, Any]:
        """What does the same again, and what brings results together."""
        body = flow.body
        at_once = {"at_once": body.at_once} if isinstance(body, Foreach | Batch | Scatter) and body.at_once != AT_ONCE else {}
        if isinstance(body, Foreach):
            return {"foreach": self.expression(body.flow), **at_once}
        if isinstance(body, Loop):
            most = {"most": body.most} if body.most != ROUNDS else {}
            return {"loop": self.expression(body.flow), "while": self.question(body.predicate), **most}
        if isinstance(body, Batch):
            return {"batch": self.expression(body.flow), "size": body.size, **at_once}
        if isinstance(body, Scatter):
            return {"scatter": self.expression(body.flow), **({"queue": body.queue} if body.queue else {}), **at_once}
        if isinstance(body, Reduce):
            return {"reduce": self.expression(body.flow), **_start(body)}
        folded = _folding(flow)
        if folded is not None:
            whole, reduction = folded
            inner = reduction.body
            assert isinstance(inner, Reduce)  # noqa: S101 - what _folding looks for
            several = _anonymous(whole) and isinstance(whole.body, Parallel)
            parts = [self.expression(part) for part in whole.children] if several else self.expression(whole)
            return {"gather": parts, "reducer": self.expression(inner.flow), **_start(inner)}
        if isinstance(body, Saga):
            return {"saga": " -> ".join(self.stage(part, used) for used in [set[str]()] for part in body.flows)}
        return {}

    def remembered(self, flow: AnyFlow) -> dict[str, Any]:
        """What goes by what was measured or learned."""
        body = flow.body
        if isinstance(body, Optimize):
            weights = {name: each for name, each in body.goal.record().items() if each}
            goal: Any = next(iter(weights)) if len(weights) == 1 else weights
            fields = {"optimize": [self.expression(part) for part in body.flows]} | ({"goal": goal} if goal != "cost" else {})
            fields |= {"explore": body.explore} if body.explore != 0.1 or isinstance(body.explore, int) else {}
            return fields | self.other("score", body.score)
        if isinstance(body, Tuned):
            return {"tuned": self.expression(body.flow), "parameters": json.loads(body.settings)}
        if isinstance(body, Learn):
            usual = {"held_out": 0.3, "level": 0.95, "seed": 0, "at_once": AT_ONCE}
            changed = {name: getattr(body, name) for name, default in usual.items() if getattr(body, name) != default}
            return {"learn": self.expression(body.flow)} | self.other("metric", body.metric) | changed
        return {}

    def person(self, flow: AnyFlow, body: Person) -> dict[str, Any]:
        asked: dict[str, Any] = {}
        if isinstance(body, Approval):
            asked = {"approval": body.role}
        elif isinstance(body, Form):
            asked = {"form": self.written(flow.output)} | ({"role": body.role} if body.role else {})
        elif isinstance(body, Awaited):
            asked = {"signal": body.signal}
        asked |= {"message": body.message} if body.message else {}
        asked |= {"within": duration(body.within_s)} if body.within_s else {}
        given = flow.input.annotation is not Any or flow.input.given_schema is not None
        result = isinstance(body, Awaited) and (flow.output.annotation is not Any or flow.output.given_schema is not None)
        fields = {"human": asked} | ({"input": self.written(flow.input)} if given else {})
        return fields | ({"output": self.written(flow.output)} if result else {})

    def tool(self, flow: AnyFlow, body: Tool) -> dict[str, Any]:
        fields: dict[str, Any] = {"tool": f"{body.server}/{body.tool}"}
        fields |= {"effect": body.declared} if body.declared else {}
        fields |= {"pin": body.pin} if body.pin else {}
        fields |= {"limit": duration(body.timeout_s)} if body.timeout_s != 60.0 else {}
        fields |= {"input": self.type(flow.input)} if flow.input.annotation != dict[str, Any] or flow.input.given_schema is not None else {}
        return fields | (
            {"output": self.type(flow.output)} if flow.output.annotation is not Any or flow.output.given_schema is not None else {}
        )

    def agent(self, flow: AnyFlow, body: Agent) -> dict[str, Any]:
        asking = body.ask.body
        if not isinstance(asking, Asking) or body.ask.name != flow.name:
            raise DefinitionError("OMG-L012", f"{flow.name} is an agent that was renamed", advice="name an agent where it is made")
        asked: dict[str, Any] = {"instructions": asking.instructions}
        asked |= {"model": asking.model} if asking.model else {}
        asked |= {"tools": [self.key(tool, set()) for tool in body.tools]} if body.tools else {}
        asked |= {"offered": list(body.capabilities)} if body.capabilities else {}
        for word, some in (("input_checks", body.input_checks), ("output_checks", body.output_checks)):
            asked |= {word: [guard_of(each) or self.key(each, set()) for each in some]} if some else {}
        asked |= {"again": body.again} if body.again else {}
        asked |= {"turns": body.turns} if body.turns != usual_turns(bool(body.tools or body.offered), body.again) else {}
        asked |= {"max_tokens": asking.max_tokens} if asking.max_tokens != 2_000 else {}
        fields: dict[str, Any] = {"agent": asked}
        fields |= {"input": self.written(flow.input)} if flow.input.annotation is not Any or flow.input.given_schema is not None else {}
        return fields | ({"output": self.written(flow.output)} if flow.output.annotation is not str else {})

    def written(self, kind: Type) -> Any:
        """A type that a document can say by itself: a Python class by its schema, under its name."""
        if kind.given_schema is not None or kind.name in PLAIN_TYPES:
            return self.type(kind)
        if not TYPE_NAME.fullmatch(kind.name):
            raise DefinitionError("OMG-L012", f"the type {kind.name} has no name of its own", advice="use a class, or a plain type")
        return self.type(Type(Any, kind.schema(), kind.name))

    def question(self, asked: Expression | AnyFlow) -> Any:
        return {"by": self.expression(asked)} if isinstance(asked, Flow) else asked.source

    def other(self, key: str, flow: AnyFlow | None) -> dict[str, Any]:
        return {} if flow is None else {key: self.expression(flow)}

    def option(self, wrapper: AnyFlow) -> dict[str, Any]:
        body = wrapper.body
        if isinstance(body, Retry):
            usual = {"backoff": (body.backoff_s, 0.5), "factor": (body.factor, 2.0), "longest": (body.longest_s, 30.0)}
            changed = {
                key: value if key == "factor" else duration(value)
                for key, (value, default) in usual.items()
                if value != default or type(value) is not type(default)
            }
            return {"retry": {"attempts": body.attempts, **changed} if changed else body.attempts}
        if isinstance(body, Timeout):
            after = duration(body.limit_s)
            return {"timeout": after if body.otherwise is None else {"after": after, **self.other("otherwise", body.otherwise)}}
        if isinstance(body, Cache):
            reads = body.flow.effect is Effect.READ
            return {"cache": {"ttl": duration(body.ttl_s), "reads": True} if reads else duration(body.ttl_s)}
        if isinstance(body, Fallback):
            others = [self.expression(part) for part in body.flows[1:]]
            return {"fallback": others[0] if len(others) == 1 else others}
        return self.heeding(body)

    def heeding(self, body: Body) -> dict[str, Any]:
        """The options that heed time, others, and what comes after."""
        if isinstance(body, Delay):
            return {"delay": duration(body.delay_s)}
        if isinstance(body, RateLimited):
            limit = f"{body.rate.count}/{_per(body.rate.per_s)}"
            more: dict[str, Any] = {"per": body.per} if body.per != "tenant" else {}
            more |= {"key": body.key.source} if body.key is not None else {}
            more |= {"patience": duration(body.patience_s) if body.patience_s else 0} if body.patience_s != 3600.0 else {}
            return {"rate": {"limit": limit, **more} if more else limit}
        if isinstance(body, Breaker):
            usual = {"within": (body.within_s, 60.0), "open_for": (body.open_s, 30.0)}
            changed = {name: duration(value) for name, (value, default) in usual.items() if value != default}
            changed |= self.other("otherwise", body.otherwise)
            return {"breaker": {"failures": body.failures, **changed} if changed else body.failures}
        return {"undo": self.expression(body.undo)} if isinstance(body, Undoable) else {"attempt": True}


def duration(value_s: float) -> str | float:
    """Seconds as a document says them: "500ms", "30s", "2m", "1h", "7d", or the bare number where none of these is exact.

    A whole number stays one, since digests tell 1 from 1.0.
    """
    if isinstance(value_s, int):
        return value_s
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)):
        count = round(value_s / size)
        if count > 0 and count < 10**9 and seconds_exactly(f"{count}{unit}", value_s):
            return f"{count}{unit}"
    return value_s


def seconds_exactly(text: str, value_s: float) -> bool:
    """Whether `text` means exactly `value_s`."""
    try:
        return seconds(text) == value_s
    except DefinitionError:
        return False


def _per(per_s: float) -> str:
    """The right-hand side of a rate: `s` for one second, `5s`, `m`."""
    said = duration(per_s)
    text = said if isinstance(said, str) else f"{per_s!r}s"
    return text[1:] if re.fullmatch(r"1[a-z]+", text) else text


def _start(body: Reduce) -> dict[str, Any]:
    return {"start": body.start[0]} if body.start else {}


def _folding(flow: AnyFlow) -> tuple[AnyFlow, AnyFlow] | None:
    """The two parts of a gather that folds: what it gathers gives a tuple, which no other reduction takes."""
    parts = flow.body.flows if isinstance(flow.body, Sequence) else ()
    if len(parts) == 2 and isinstance(parts[1].body, Reduce) and get_origin(parts[1].input.annotation) is tuple:
        return parts[0], parts[1]
    return None


def _anonymous(flow: AnyFlow) -> bool:
    return flow.name == flow.body.kind and flow.version == "1.0.0" and not flow.description


def _direct(flow: AnyFlow, core: AnyFlow) -> bool:
    """Whether `core` is a node of its own kind with the wrappers of `flow` as options; anything else is written as a `sub`."""
    if _folding(core) is not None:
        return core is flow or _anonymous(flow)
    if isinstance(core.body, (*_WRAPPERS, Sequence)) or (isinstance(core.body, Parallel) and _anonymous(core)):
        return False
    return core is flow or _anonymous(flow)


def _peel(flow: AnyFlow) -> tuple[AnyFlow, list[AnyFlow]]:
    """What is inside the wrappers of a flow, and the wrappers from the inside out: each kind once, and named ones only outermost.

    Under a named wrapper whatever is inside becomes a `sub`, since the key is the wrapper's name.
    """
    options: list[AnyFlow] = []
    core = flow
    while (
        isinstance(core.body, _WRAPPERS)
        and (core is flow or _anonymous(core))
        and type(core.body) not in {type(each.body) for each in options}
    ):
        options.append(core)
        core = core.children[0]
    return core, options[::-1]
