"""What a flow is: typed, named, versioned, immutable data that can be called, drawn, compared and stored.

A flow is either a leaf (a Python task, a tool of an MCP server) or a combinator with children (`omega.kernel.compose`). Its `digest`
covers everything that decides what it means; `code` covers the Python source behind a leaf and is kept beside it.

    @flow
    def redact(ticket: Ticket) -> Ticket: ...

    triage = redact | parallel(classify.retry(3).timeout("30s"), history) | when("out[0].urgency >= 4", then=page, otherwise=reply)

Calling a flow runs it here and now, in memory, without a journal or a gate: that is what a unit test wants. Running it durably is the
runtime's business (`omega run`, `omega.run`), and the only way to touch the world.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints, overload

from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.types import ANY, Type, type_of

In = TypeVar("In")
Out = TypeVar("Out")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_.-]{1,64})?")
_VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?")


def is_flow_name(text: str) -> bool:
    """Whether a flow may be called that: `name` or `server/name`, of at most 64 characters each."""
    return _NAME.fullmatch(text) is not None


_COMBINATORS: dict[str, Callable[..., Any]] = {}


def bind(**functions: Callable[..., Any]) -> None:
    """Give the methods of `Flow` the functions behind them.

    Called once, by `omega.kernel.flow`: combinators are made of flows, not the other way round.
    """
    _COMBINATORS.update(functions)


class Body:
    """What a flow consists of. `kind` names it in documents; `children` are the flows inside, in order.

    `inside` is the kind of the only composite that it may be a part of (empty: any), `waits` tells that it may stand still by itself.
    """

    kind: ClassVar[str] = ""
    inside: ClassVar[str] = ""
    waits: ClassVar[bool] = False

    @property
    def children(self) -> tuple[Flow[Any, Any], ...]:
        """The flows inside, in order; none for a leaf."""
        return ()

    def parameters(self) -> Mapping[str, Any]:
        """What else decides the meaning, as JSON-ready data: part of the digest."""
        return {}


@dataclass(frozen=True, slots=True)
class Task(Body):
    """A Python function as a leaf.

    `takes_context` and `takes_input` tell how it is called, `where` is `file.py:line`, `code` its source digest.
    """

    kind: ClassVar[str] = "task"
    function: Callable[..., Any]
    takes_context: bool
    takes_input: bool
    parameter: str
    where: str

    @property
    def code(self) -> str:
        """Digest of the function's source, without comments and layout."""
        return _source_digest(self.function)


@dataclass(frozen=True, slots=True)
class Tool(Body):
    """A tool of an MCP server as a leaf. `pin` is the digest of its description once an operator has accepted it; empty before.

    `declared` is the strongest effect its author reckons with; empty where the pinned description alone says what it does. `folder` is the
    argument that names the folder to work in; empty where there is none.
    """

    kind: ClassVar[str] = "tool"
    server: str
    tool: str
    pin: str = ""
    declared: str = ""
    where: str = ""
    timeout_s: float = 60.0
    folder: str = ""

    @property
    def code(self) -> str:
        """What stands in for source: another description is another tool."""
        return self.pin

    def parameters(self) -> Mapping[str, Any]:
        more = {"folder": self.folder} if self.folder else {}
        return {"server": self.server, "tool": self.tool, "pin": self.pin, "declared": self.declared, **more}

    def works_in(self, arguments: Mapping[str, Any]) -> str | None:
        """The folder that these arguments name as the one to work in, if they do."""
        found = arguments.get(self.folder) if self.folder else None
        return found if isinstance(found, str) and found else None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Flow(Generic[In, Out]):
    """One callable unit. Make leaves with `@flow` and `tool`, composites with the combinators; `replace` nothing by hand."""

    name: str
    body: Body
    input: Type
    output: Type
    version: str = "1.0.0"
    description: str = ""
    effect: Effect = Effect.PURE
    needs: frozenset[str] = frozenset()
    approver_role: str = ""
    egress: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    _digest: list[Any] = field(default_factory=list)
    """What has been worked out of the rest, once: digest, pin, outline."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError("OMG-F005", f"{self.name!r} cannot be the name of a flow")
        if not _VERSION.fullmatch(self.version):
            raise DefinitionError("OMG-F005", f"{self.version!r} of {self.name} is no semantic version (1.2.3)")

    # -- reading it

    @property
    def children(self) -> tuple[Flow[Any, Any], ...]:
        """The flows inside, in order; none for a leaf."""
        return self.body.children

    @property
    def where(self) -> str:
        """`file.py:line` of a leaf's function; empty where there is none."""
        return str(getattr(self.body, "where", ""))

    @property
    def code(self) -> str:
        """Digest of the Python source behind a leaf; empty where there is none."""
        return str(getattr(self.body, "code", ""))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the definition: names, versions, types, effects, parameters of it and all its children; not the source."""
        if not self._digest:
            text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            self._digest.append(hashlib.sha256(text.encode()).hexdigest())
        return str(self._digest[0])

    @property
    def pin(self) -> str:
        """SHA-256 (hex) of the definition and of the code of its parts: what an execution is pinned to.

        It is the same wherever the same source stands, whatever its line numbers are.
        """
        if len(self._digest) < 2:
            outline = list(_outline(self))
            parts = [[*line[:3], line[4]] for line in outline]
            text = json.dumps([self.digest, parts], separators=(",", ":"), ensure_ascii=False)
            self._digest.extend((hashlib.sha256(text.encode()).hexdigest(), outline))
        return str(self._digest[1])

    def document(self) -> dict[str, Any]:
        """The definition as JSON-ready data."""
        return {
            "kind": self.body.kind,
            "name": self.name,
            "version": self.version,
            "input": self.input.name,
            "output": self.output.name,
            "effect": self.effect.value,
            "needs": sorted(self.needs),
            "approver_role": self.approver_role,
            "egress": list(self.egress),
            "parameters": dict(self.body.parameters()),
            "children": [child.document() for child in self.children],
        }

    def leaves(self) -> Iterator[Flow[Any, Any]]:
        """Every leaf inside, in order, repeated where it is used twice."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def outline(self) -> list[list[str]]:
        """One line per part, each after its own: name, version, effect, where, code digest. Sealed at the start, compared at every resume
        and replay.

        The digest covers a part's source and how it is set, without its children; a combinator stands where its first leaf does.
        """
        return [list(line) for line in self._digest[2]] if self.pin else []

    def poml(self) -> str:
        """The flow as a POML document, laid out. Raises DefinitionError (OMG-L012) for a flow that none can say."""
        text: str = _COMBINATORS["poml"](self)
        return text

    def __repr__(self) -> str:
        return f"<flow {self.name} {self.version}: {self.input.name} -> {self.output.name}, {self.effect.value}>"

    def __str__(self) -> str:
        return "\n".join(_draw(self))

    # -- running it here and now

    def __call__(self, value: Any = None) -> Any:
        """Run in memory: no journal, no gate, no touch. Branches run one after the other, delays take no time.

        Raises what the flow raises; FlowError OMG-R013 for a step that must touch the world.
        """
        return _COMBINATORS["run_direct"](self, value)

    # -- composing it

    def __or__(self, other: Flow[Any, Any]) -> Flow[In, Any]:
        composed: Flow[In, Any] = _COMBINATORS["sequence"](self, other)
        return composed

    def named(self, name: str, *, version: str | None = None, description: str | None = None) -> Flow[In, Out]:
        """The same flow under another name (and version, and description)."""
        return replace(
            self,
            name=name,
            version=self.version if version is None else version,
            description=self.description if description is None else description,
            _digest=[],
        )

    def retry(self, attempts: int = 3, *, backoff_s: float = 0.5, factor: float = 2.0, longest_s: float = 30.0) -> Flow[In, Out]:
        """Try up to `attempts` times in all; see `omega.kernel.compose.retry`."""
        composed: Flow[In, Out] = _COMBINATORS["retry"](self, attempts, backoff_s=backoff_s, factor=factor, longest_s=longest_s)
        return composed

    def timeout(self, limit: float | str, *, otherwise: Flow[In, Out] | None = None) -> Flow[In, Out]:
        """Give up after `limit` (seconds, or "500ms", "30s", "2m"); see `omega.kernel.compose.timeout`."""
        composed: Flow[In, Out] = _COMBINATORS["timeout"](self, limit, otherwise=otherwise)
        return composed

    def fallback(self, *others: Flow[In, Any]) -> Flow[In, Any]:
        """When this fails, try `others` in order; see `omega.kernel.compose.fallback`."""
        composed: Flow[In, Any] = _COMBINATORS["fallback"](self, *others)
        return composed

    def cached(self, *, ttl_s: float = 3600.0) -> Flow[In, Out]:
        """Reuse a result for the same input; see `omega.kernel.compose.cache`."""
        composed: Flow[In, Out] = _COMBINATORS["cache"](self, ttl_s=ttl_s)
        return composed

    def rate_limited(self, rate: str, *, per: str = "tenant", key: str = "", patience: float | str = "1h") -> Flow[In, Out]:
        """Begin at most as often as `rate` ("10/s") says; see `omega.kernel.adapt.rate_limited`."""
        composed: Flow[In, Out] = _COMBINATORS["rate_limited"](self, rate, per=per, key=key, patience=patience)
        return composed

    def breaker(
        self,
        *,
        failures: int = 5,
        within: float | str = "1m",
        open_for: float | str = "30s",
        otherwise: Flow[In, Out] | None = None,
    ) -> Flow[In, Out]:
        """Leave it alone for a while after many failures; see `omega.kernel.adapt.breaker`."""
        composed: Flow[In, Out] = _COMBINATORS["breaker"](self, failures=failures, within=within, open_for=open_for, otherwise=otherwise)
        return composed

    def attempted(self) -> Flow[In, Any]:
        """`Ok(value)`, or an `Err` where this fails; see `omega.kernel.attempts.attempt`."""
        composed: Flow[In, Any] = _COMBINATORS["attempt"](self)
        return composed

    def undone_by(self, undo: Flow[Any, Any]) -> Flow[In, Out]:
        """As a step of a saga: `undo` takes it back, given the pair of its input and output; see `omega.kernel.sagas.saga`."""
        composed: Flow[In, Out] = _COMBINATORS["undoable"](self, undo)
        return composed

    def gather(self, reducer: Flow[Any, Any]) -> Flow[In, Any]:
        """What this gives, a tuple or list, brought together by the pure flow `reducer`; see `omega.kernel.repeat.gathered`."""
        composed: Flow[In, Any] = _COMBINATORS["gathered"](self, reducer)
        return composed

    def delayed(self, duration: float | str) -> Flow[In, Out]:
        """Begin after `duration` (seconds, or "500ms", "30s", "2m", "1h"); see `omega.kernel.repeat.delay`."""
        composed: Flow[In, Out] = _COMBINATORS["delay"](self, duration)
        return composed

    def approved_by(self, role: str) -> Flow[In, Out]:
        """The same flow, which a person of `role` must approve each time before it runs."""
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,63}", role):
            raise DefinitionError("OMG-F005", f"{role!r} is no role: lower-case letters, digits and dashes")
        if self.effect is Effect.PURE:
            raise DefinitionError(
                "OMG-F003", f"{self.name} is pure: there is nothing to approve", advice="approve the step that acts on its result"
            )
        if self.children:
            raise DefinitionError("OMG-F003", f"{self.name} is a composite: approve the step inside that acts")
        return replace(self, approver_role=role, _digest=[])


@overload
def flow(function: Callable[..., Any], /) -> Flow[Any, Any]: ...


@overload
def flow(
    *,
    name: str | None = None,
    version: str = "1.0.0",
    effect: Effect | str = Effect.PURE,
    needs: str | tuple[str, ...] = (),
    egress: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Flow[Any, Any]]: ...


def flow(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1.0.0",
    effect: Effect | str = Effect.PURE,
    needs: str | tuple[str, ...] = (),
    egress: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> Any:
    """Turn an annotated function, sync or async, into a flow.

    It takes at most one input, after an optional first parameter `ctx: Context`, and has a return annotation. `effect` says what it does
    to the world ("read", "idempotent", "write", "irreversible"; without it the flow is pure and cannot touch anything), `needs` the
    capabilities its caller must hold. Raises DefinitionError (OMG-F002) naming file and line when the signature does not fit.
    """
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    if effect not in set(Effect):
        known = ", ".join(Effect)
        raise DefinitionError("OMG-F002", f"{effect!r} is no effect", advice=f"one of: {known}")

    def decorate(target: Callable[..., Any]) -> Flow[Any, Any]:
        task, source, result = _inspect(target)
        return Flow(
            name=name or target.__name__,
            body=task,
            input=source,
            output=result,
            version=version,
            description=inspect.getdoc(target) or "",
            effect=Effect(effect),
            needs=frozenset(wanted),
            egress=egress,
            tags=tags,
        )

    return decorate if function is None else decorate(function)


def tool(server: str, name: str, *, effect: Effect | str = "", timeout_s: float = 60.0, folder: str = "") -> Flow[dict[str, Any], Any]:
    """A tool of the MCP server known as `server`, as a leaf that takes its arguments as a dict.

    Its effect comes from its pinned description. `effect` is what its author reckons with at most: a description that says more is
    refused when the run starts, and combinators that need to know (retry, race) know it before. Without it, it counts as a write.
    `folder` is the argument that names the folder to work in: a server that is started for it may read and change what lies there.
    """
    return Flow(
        name=f"{server}/{name}",
        body=Tool(server, name, declared=Effect(effect).value if effect else "", timeout_s=timeout_s, folder=folder),
        input=type_of(dict[str, Any]),
        output=ANY,
        effect=Effect(effect) if effect else Effect.WRITE,
        needs=frozenset({"tools:call"}),
    )


def _inspect(function: Callable[..., Any]) -> tuple[Task, Type, Type]:
    code = getattr(function, "__code__", None)
    if code is None or not callable(function):
        raise DefinitionError("OMG-F002", f"{function!r} is not a Python function")
    where = f"{code.co_filename.rpartition('/')[2]}:{code.co_firstlineno}"
    parameters = list(inspect.signature(function).parameters.values())
    hints = _hints(function, where)
    takes_context = bool(parameters) and _is_context(parameters[0], hints)
    inputs = parameters[1:] if takes_context else parameters
    if len(inputs) > 1:
        names = ", ".join(parameter.name for parameter in inputs)
        raise DefinitionError(
            "OMG-F002",
            f"{function.__name__} ({where}) takes {len(inputs)} inputs ({names})",
            advice="take one pydantic model that holds them",
        )
    unannotated = [parameter.name for parameter in inputs if parameter.name not in hints]
    if unannotated or "return" not in hints:
        lacking = f"parameter {unannotated[0]}" if unannotated else "the return value"
        raise DefinitionError("OMG-F002", f"{function.__name__} ({where}) has no annotation on {lacking}")
    source = type_of(hints[inputs[0].name]) if inputs else type_of(None)
    parameter = inputs[0].name if inputs else ""
    task = Task(function, takes_context, bool(inputs), parameter, where)
    return task, source, type_of(hints["return"])


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DefinitionError(
            "OMG-F002", f"{function.__name__} ({where}): {error}", advice="import or define the type before the flow"
        ) from error


def _is_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    annotation = hints.get(parameter.name)
    return parameter.name == "ctx" if annotation is None else getattr(annotation, "__name__", "") == "Context"


@lru_cache(maxsize=4096)
def _source_digest(function: Callable[..., Any]) -> str:
    """What the function does, as 16 hex digits: a comment or another line break stops no running execution, another statement does."""
    try:
        text = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):  # typed at a prompt, or a lambda in the middle of a line: the compiled code is all there is
        code = function.__code__
        text = repr((code.co_code.hex(), [item for item in code.co_consts if not hasattr(item, "co_code")], code.co_names))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _outline(flow: Flow[Any, Any]) -> Iterator[list[str]]:
    for child in flow.children:
        yield from _outline(child)
    own = [
        flow.body.kind,
        flow.input.name,
        flow.output.name,
        sorted(flow.needs),
        flow.approver_role,
        flow.egress,
        dict(flow.body.parameters()),
    ]
    settings = hashlib.sha256(json.dumps([*own, len(flow.children)], sort_keys=True).encode()).hexdigest()[:16]
    where = flow.where or next((leaf.where for leaf in flow.leaves() if leaf.where), "")
    code = f"{flow.code}.{settings}" if flow.code else settings
    yield [flow.name, flow.version, flow.effect.value, where, code]


def _draw(flow: Flow[Any, Any], lead: str = "", tail: str = "") -> Iterator[str]:
    label = flow.name if not flow.children or flow.name == flow.body.kind else f"{flow.name} ({flow.body.kind})"
    yield f"{lead}{label}  {flow.input.name} -> {flow.output.name}  {flow.effect.value}"
    for index, child in enumerate(flow.children):
        last = index == len(flow.children) - 1
        yield from _draw(child, tail + ("└─ " if last else "├─ "), tail + ("   " if last else "│  "))
