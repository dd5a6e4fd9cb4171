"""From flow to document. A flow that came from a document and was not changed gives that very document back, comments and all.

Any other flow is written down from its parts: composites without a name of their own become arrows and brackets, wrappers become options,
everything else a node under its name (`name-2` where another node has it). What a document holds beside the flow (types, secrets, servers,
comments) is taken over from the document the flow once came from, under the keys that are still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omega.kernel.compose import AT_ONCE, AnyFlow, Cache, Fallback, Foreach, Parallel, Race, Retry, Sequence, Switch, Timeout, When, seconds
from omega.kernel.definition import Flow, Task, Tool
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.expressions import Expression
from omega.kernel.poml.build import Described
from omega.kernel.poml.document import SCHEMA_VERSION, Document
from omega.kernel.poml.layout import carry_comments, lay_out, tree_of
from omega.kernel.poml.reader import parse
from omega.kernel.poml.tree import Branch
from omega.kernel.types import Type

Refer = Callable[[AnyFlow], str]
"""Gives the `module:name` under which a Python leaf is found again."""

_WRAPPERS = (Retry, Timeout, Fallback, Cache)
_OPTION = {Retry: "retry", Timeout: "timeout", Fallback: "fallback", Cache: "cache"}


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
    """`module:name` of a Python leaf. Raises DefinitionError (OMG-L012) where an import would not find it."""
    function = flow.body.function if isinstance(flow.body, Task) else None
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not module or module == "__main__" or "<" in name:
        raise DefinitionError("OMG-L012", f"{flow.name} ({flow.where}) cannot be found again by an import")
    return f"{module}:{name}"


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
        connect = self.stages(flow, set()) if isinstance(flow.body, Sequence | Parallel) else self.key(flow, set())
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
        if kind.name == Type(kind.annotation).name:
            return schema
        if self.types.setdefault(kind.name, schema) != schema:
            raise DefinitionError("OMG-L012", f"two types are called {kind.name}")
        return kind.name

    # -- expressions

    def chain(self, flow: AnyFlow, used: set[str]) -> str:
        return self.stages(flow, used) if _anonymous(flow) and isinstance(flow.body, Sequence) else self.stage(flow, used)

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
            fields |= {"approve": core.approver_role} if core.approver_role else {}
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
        if isinstance(body, When):
            return {"when": self.question(body.predicate), "then": self.expression(body.then)} | self.other("otherwise", body.otherwise)
        if isinstance(body, Switch):
            cases = {case: self.expression(part) for case, part in body.cases}
            return {"switch": self.question(body.selector), "cases": cases} | self.other("default", body.default)
        if isinstance(body, Foreach):
            return {"foreach": self.expression(body.flow)} | ({"at_once": body.at_once} if body.at_once != AT_ONCE else {})
        if isinstance(body, Parallel | Race):
            return {body.kind: [self.expression(part) for part in body.flows]}
        raise DefinitionError("OMG-L012", f"{flow.name} is a {body.kind}, which a document of version {SCHEMA_VERSION} does not know")

    def tool(self, flow: AnyFlow, body: Tool) -> dict[str, Any]:
        fields: dict[str, Any] = {"tool": f"{body.server}/{body.tool}"}
        fields |= {"effect": body.declared} if body.declared else {}
        fields |= {"pin": body.pin} if body.pin else {}
        fields |= {"limit": duration(body.timeout_s)} if body.timeout_s != 60.0 else {}
        fields |= {"input": self.type(flow.input)} if flow.input.annotation != dict[str, Any] or flow.input.given_schema is not None else {}
        return fields | (
            {"output": self.type(flow.output)} if flow.output.annotation is not Any or flow.output.given_schema is not None else {}
        )

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
        others = [self.expression(part) for part in wrapper.children[1:]]
        return {"fallback": others[0] if len(others) == 1 else others}


def duration(value_s: float) -> str | float:
    """Seconds as a document says them: "500ms", "30s", "2m", "1h", or the bare number where none of these is exact.

    A whole number stays one, since digests tell 1 from 1.0.
    """
    if isinstance(value_s, int):
        return value_s
    for unit, size in (("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)):
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


def _anonymous(flow: AnyFlow) -> bool:
    return flow.name == flow.body.kind and flow.version == "1.0.0" and not flow.description


def _direct(flow: AnyFlow, core: AnyFlow) -> bool:
    """Whether `core` is a node of its own kind with the wrappers of `flow` as options; anything else is written as a `sub`."""
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
