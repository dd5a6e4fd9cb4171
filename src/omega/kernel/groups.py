"""Groups of flows, and what may be said about all of a group at once: which of them, under which names, after whose approval.

    crm = group("crm", find, update, delete)
    safe = crm.filtered(lambda flow: flow.effect.repeatable) | crm.filtered(destructive).approval_required("owner")
    agent(tools=safe.prefixed("crm_").retrying(3))

A group is a value: every operation gives a new one and leaves the old as it was. The flows inside are whole: what is asked of a group is
asked of each flow, its digest says so, and the gate sees it. Nothing here can take a need, an approval or an effect off a flow.

Laws, each a test: filtered twice is filtered by both; prefixes add up; renaming is undone by the reverse renaming; a union with itself is
the group; what is filtered first and changed then is the same as changed first and filtered then, where the filter asks nothing that
changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from omega.kernel.compose import MAX_BRANCHES, AnyFlow, flows_of, rebuilt, retry, timeout
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError

Choice = Callable[[AnyFlow], bool]
"""Which flows of a group are meant."""


def consequential(flow: AnyFlow) -> bool:
    """Whether doing `flow` twice is not the same as doing it once: what a person is asked about unless told otherwise."""
    return not flow.effect.repeatable


def every(flow: AnyFlow) -> bool:
    """Whichever it is."""
    return True


@dataclass(frozen=True, slots=True, repr=False)
class Group:
    """Flows under one name, each with a name of its own, in order. Made by `group`."""

    name: str
    flows: tuple[AnyFlow, ...]

    def __post_init__(self) -> None:
        seen: dict[str, AnyFlow] = {}
        for each in self.flows:
            other = seen.setdefault(each.name, each)
            if other is not each:
                raise DefinitionError(
                    "OMG-F005",
                    f"the group {self.name} would hold two flows called {each.name}",
                    advice="tell them apart with prefixed or renamed before they are brought together",
                    details={"left_at": other.where, "right_at": each.where},
                )

    def __repr__(self) -> str:
        return f"<group {self.name}: {', '.join(self.names)}>"

    def __str__(self) -> str:
        return "\n".join([self.name, *(str(each) for each in self.flows)])

    # -- looking things up

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its flows, in order."""
        return tuple(each.name for each in self.flows)

    def __iter__(self) -> Iterator[AnyFlow]:
        return iter(self.flows)

    def __len__(self) -> int:
        return len(self.flows)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> AnyFlow:
        """The flow of that name. Raises DefinitionError (OMG-F005) listing the names there are."""
        for each in self.flows:
            if each.name == name:
                return each
        raise DefinitionError("OMG-F005", f"no flow of the group {self.name} is called {name!r} (there are: {', '.join(self.names)[:300]})")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its name and the definitions of its flows, in order."""
        text = json.dumps([self.name, [each.digest for each in self.flows]], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    # -- choosing and naming

    def filtered(self, choice: Choice) -> Group:
        """The flows that `choice` holds for, in order."""
        return replace(self, flows=tuple(each for each in self.flows if choice(each)))

    def prefixed(self, prefix: str) -> Group:
        """The same flows, each name with `prefix` before it. Raises DefinitionError (OMG-F005) for what is no name then."""
        return self.mapped(lambda flow: flow.named(prefix + flow.name))

    def renamed(self, names: Mapping[str, str]) -> Group:
        """The same flows, some under other names: old to new.

        Raises DefinitionError (OMG-F005) for a name that is not there, and where two flows would have the same.
        """
        for old in names:
            self[old]  # raises for a name that is not there
        return self.mapped(lambda flow: flow.named(names[flow.name]) if flow.name in names else flow)

    def __or__(self, other: Group) -> Group:
        """The flows of both, those of the left first.

        A flow that is in both is there once. Raises DefinitionError (OMG-F005) where different flows have the same name.
        """
        known = {each.name: each.digest for each in self.flows}
        more = tuple(each for each in other.flows if known.get(each.name) != each.digest)
        return replace(self, flows=(*self.flows, *more))

    # -- asking more of them

    def approval_required(self, role: str, *, when: Choice = consequential) -> Group:
        """The same flows, of which those that `when` holds for need the approval of a person of `role` each time.

        In a composite, that is every step inside that `when` holds for. Raises DefinitionError: OMG-F003 for a pure flow, which does
        nothing that could be approved, and for a step that another role approves already; OMG-F005 for what is no role.
        """
        return self.mapped(lambda flow: _approved(flow, role, when) if when(flow) else flow)

    def with_policy(
        self, *, needs: str | tuple[str, ...] = (), tags: tuple[str, ...] = (), limit: float | str | None = None, when: Choice = every
    ) -> Group:
        """The same flows, of which those that `when` holds for demand more: capabilities `needs` of their caller, to end within `limit`.

        `tags` are added for whoever chooses by them. Needs are demanded of every step inside.
        """
        wanted = frozenset((needs,) if isinstance(needs, str) else needs)

        def bound(flow: AnyFlow) -> AnyFlow:
            if not when(flow):
                return flow
            if wanted:
                flow = rebuilt(flow, lambda leaf: replace(leaf, needs=leaf.needs | wanted, _digest=[]))
            if limit is not None:
                flow = _as(flow, timeout(flow, limit))
            return replace(flow, tags=tuple(dict.fromkeys((*flow.tags, *tags))), _digest=[]) if tags else flow

        return self.mapped(bound)

    def retrying(self, attempts: int = 3, *, backoff_s: float = 0.5, factor: float = 2.0, longest_s: float = 30.0) -> Group:
        """The same flows, of which those that may be repeated are tried up to `attempts` times; writes stay as they are."""

        def tried(flow: AnyFlow) -> AnyFlow:
            if not flow.effect.repeatable:
                return flow
            return _as(flow, retry(flow, attempts, backoff_s=backoff_s, factor=factor, longest_s=longest_s))

        return self.mapped(tried)

    def mapped(self, change: Callable[[AnyFlow], AnyFlow]) -> Group:
        """What `change` gives for each of its flows. Raises DefinitionError (OMG-F003) for what is no flow, OMG-F005 for names twice."""
        return replace(self, flows=flows_of("group", tuple(change(each) for each in self.flows), least=0))


def group(name: str, *flows: AnyFlow | Group) -> Group:
    """`flows`, and the flows of groups among them, as one group.

    Raises DefinitionError: OMG-F003 for what is neither, or for more than 1,000; OMG-F005 where two have the same name.
    """
    whole = Group(name, ())
    for given in flows:
        whole = whole | (given if isinstance(given, Group) else Group(name, flows_of("group", (given,), least=1)))
    if len(whole) > MAX_BRANCHES:
        raise DefinitionError("OMG-F003", f"the group {name} would hold {len(whole):,} flows, the limit is {MAX_BRANCHES:,}")
    return whole


def _as(flow: AnyFlow, wrapped: AnyFlow) -> AnyFlow:
    """`wrapped` under the name, version, description and tags of the flow inside: callers see the same flow, which now does more."""
    return replace(
        wrapped, name=flow.name, version=flow.version, description=flow.description, tags=flow.tags, egress=flow.egress, _digest=[]
    )


def _approved(flow: AnyFlow, role: str, when: Choice) -> AnyFlow:
    if not flow.children:
        if flow.approver_role not in ("", role):
            raise DefinitionError(
                "OMG-F003", f"{flow.name} needs the approval of {flow.approver_role} already, which {role} cannot replace"
            )
        return flow.approved_by(role)
    approved = rebuilt(flow, lambda leaf: _approved(leaf, role, when) if leaf.effect is not Effect.PURE and when(leaf) else leaf)
    if approved is flow:
        raise DefinitionError("OMG-F003", f"no step inside {flow.name} is one to approve", advice="choose with when= what a single step is")
    return approved
