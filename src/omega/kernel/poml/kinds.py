"""The kinds of nodes and the options, as tables: a key and the function that reads its value.

The JSON Schema beside this module says the same for editors; a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omega.kernel.adapt import MAX_FAILURES, PER, rate_of
from omega.kernel.agents import MAX_TOKENS, MAX_TURNS
from omega.kernel.choosing import KINDS as GOALS
from omega.kernel.compose import MAX_ATTEMPTS, MAX_ITEMS
from omega.kernel.errors import DefinitionError
from omega.kernel.guardrails import GUARDS, MAX_AGAIN
from omega.kernel.offered import CAPABILITY
from omega.kernel.poml.connect import NODE, Chain, Name
from omega.kernel.poml.layout import plain_of
from omega.kernel.poml.problems import quoted
from omega.kernel.poml.tree import Scalar, Value
from omega.kernel.poml.values import Read, Values
from omega.kernel.repeat import MAX_ROUNDS

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?")
_CAPABILITY = re.compile(CAPABILITY)
_TOOL = re.compile(r"[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,64}")
_MODULE = re.compile(r"[a-z][a-z0-9-]{0,63}(/[a-z][a-z0-9-]{0,63})?@\d{1,9}\.\d{1,9}\.\d{1,9}(:[a-z][a-z0-9-]{0,63})?")
A_ROLE = "a role: lower-case letters, digits and dashes"
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,63}")


def _retry(reader: Values, value: Value) -> Mapping[str, Any]:
    if isinstance(value, Scalar):
        return {"attempts": reader.count(value, MAX_ATTEMPTS)}
    return reader.strict(value, _RETRY, "key of retry", ("attempts",))


def _timeout(reader: Values, value: Value) -> Mapping[str, Any]:
    return {"after": reader.duration(value)} if isinstance(value, Scalar) else reader.strict(value, _TIMEOUT, "key of timeout", ("after",))


def _cache(reader: Values, value: Value) -> Mapping[str, Any]:
    return {"ttl": reader.duration(value)} if isinstance(value, Scalar) else reader.strict(value, _CACHE, "key of cache", ("ttl",))


def _question(reader: Values, value: Value) -> str | Chain:
    """A CEL expression, or `{by: node}`."""
    if isinstance(value, Scalar):
        return reader.text(value)
    chain: Chain = reader.strict(value, {"by": Values.chain}, "key of a question", ("by",))["by"]
    return chain


def _cases(reader: Values, value: Value) -> Mapping[str, Chain]:
    branch = reader.branch(value, "a mapping from case to node", keyed=True)
    if not branch.items:
        raise reader.bad(value, "there is no case", "at least one")
    return {item.key: reader.chain(item.value) for item in branch.items}


def _agent(reader: Values, value: Value) -> Mapping[str, Any]:
    """What the model is told, which model is reckoned with, and the nodes that it may call as tools."""
    return reader.strict(value, _AGENT, "key of an agent", ("instructions",))


def _tools(reader: Values, value: Value) -> tuple[Chain, ...]:
    chains = reader.chains(value)
    odd = next((chain for chain in chains if len(chain.stages) != 1 or not isinstance(chain.stages[0], Name)), None)
    if odd is not None:
        raise reader.bad(value, f"{quoted(str(odd))} is no tool", "names of nodes; for several steps, a `sub` node")
    return chains


def _offered(reader: Values, value: Value) -> tuple[str, ...]:
    found = tuple(reader.text(item.value) for item in reader.branch(value, "a list of capabilities", keyed=False).items)
    if not found:
        raise reader.bad(value, "the list is empty", "at least one capability")
    odd = next((each for each in found if _CAPABILITY.fullmatch(each) is None), None)
    if odd is not None:
        raise reader.bad(value, f"{quoted(odd)} is no capability of a tool", "SERVER:EFFECT, such as git:read; either may be *")
    return found


def _checks(reader: Values, value: Value) -> tuple[str | Chain, ...]:
    """Names of guards, and nodes that say what is wrong with a text; the name of a guard stands for the guard."""
    chains = _tools(reader, value)
    return tuple(str(chain) if str(chain) in GUARDS else chain for chain in chains)


_AGENT: dict[str, Read] = {
    "instructions": Values.text,
    "model": Values.text,
    "tools": _tools,
    "offered": _offered,
    "input_checks": _checks,
    "output_checks": _checks,
    "again": lambda reader, value: reader.count(value, MAX_AGAIN),
    "turns": lambda reader, value: reader.count(value, MAX_TURNS),
    "max_tokens": lambda reader, value: reader.count(value, MAX_TOKENS),
}
_RETRY: dict[str, Read] = {
    "attempts": lambda reader, value: reader.count(value, MAX_ATTEMPTS),
    "backoff": Values.pause,
    "factor": Values.factor,
    "longest": Values.pause,
}
_TIMEOUT: dict[str, Read] = {"after": Values.duration, "otherwise": Values.chain}
_CACHE: dict[str, Read] = {"ttl": Values.duration, "reads": Values.flag}


def _rate_text(reader: Values, value: Value) -> str:
    text = reader.text(value)
    try:
        rate_of(text)
    except DefinitionError as error:
        raise reader.bad(value, f"{quoted(text)} is no rate", "a rate such as 10/s, 300/m, 1/5s") from error
    return text


_RATE: dict[str, Read] = {
    "limit": _rate_text,
    "per": lambda reader, value: reader.matching(value, re.compile("|".join(PER)), f"one of {', '.join(PER)}"),
    "key": Values.text,
    "patience": Values.pause,
}
_BREAKER: dict[str, Read] = {
    "failures": lambda reader, value: reader.count(value, MAX_FAILURES),
    "within": Values.duration,
    "open_for": Values.duration,
    "otherwise": Values.chain,
}
_HUMAN: dict[str, Read] = {
    "approval": lambda reader, value: reader.matching(value, _ROLE, A_ROLE),
    "form": Values.typed,
    "signal": Values.text,
    "message": Values.text,
    "role": lambda reader, value: reader.matching(value, _ROLE, A_ROLE),
    "within": Values.duration,
}
_ASKED = ("approval", "form", "signal")
_GOAL: dict[str, Read] = dict.fromkeys(GOALS, Values.share)


def _rate(reader: Values, value: Value) -> Mapping[str, Any]:
    if isinstance(value, Scalar):
        return {"limit": _rate_text(reader, value)}
    return reader.strict(value, _RATE, "key of rate", ("limit",))


def _breaker(reader: Values, value: Value) -> Mapping[str, Any]:
    if isinstance(value, Scalar):
        return {"failures": reader.count(value, MAX_FAILURES)}
    return reader.strict(value, _BREAKER, "key of breaker", ())


def _attempt(reader: Values, value: Value) -> bool:
    if not reader.flag(value):
        raise reader.bad(value, "an attempt is made or left out", "true, or no `attempt` at all")
    return True


def _human(reader: Values, value: Value) -> Mapping[str, Any]:
    """What a person is asked: a yes, a form, a signal."""
    found = reader.strict(value, _HUMAN, "key of a question to a person", ())
    asked = [name for name in _ASKED if name in found]
    allowed = {"approval": {"message", "within"}, "form": {"message", "role", "within"}, "signal": {"within"}}
    if len(asked) != 1:
        raise reader.bad(
            value, f"a person is asked for {' and '.join(asked) if asked else 'nothing'}", f"exactly one of {', '.join(_ASKED)}"
        )
    odd = next((name for name in found if name not in allowed[asked[0]] | set(asked)), None)
    if odd is not None:
        raise reader.bad(value, f"{odd} does not go with {asked[0]}", f"{', '.join(sorted(allowed[asked[0]]))}")
    return found


def _gathered(reader: Values, value: Value) -> Chain | tuple[Chain, ...]:
    return reader.chain(value) if isinstance(value, Scalar) else reader.chains(value)


def _goal(reader: Values, value: Value) -> str | Mapping[str, float]:
    if isinstance(value, Scalar):
        return reader.matching(value, re.compile("|".join(GOALS)), f"one of {', '.join(GOALS)}, or weights of these")
    return reader.strict(value, _GOAL, "goal", ())


def _data(reader: Values, value: Value) -> Any:
    """Plain data, whatever it is."""
    return plain_of(value)


def _items(reader: Values, value: Value) -> int:
    return reader.count(value, MAX_ITEMS)


OPTIONS: dict[str, Read] = {
    "retry": _retry,
    "timeout": _timeout,
    "fallback": Values.chains,
    "cache": _cache,
    "delay": Values.duration,
    "rate": _rate,
    "breaker": _breaker,
    "attempt": _attempt,
    "undo": Values.chain,
    "approve": lambda reader, value: reader.matching(value, _ROLE, A_ROLE),
}
"""What wraps a node, the first written nearest to it."""

COMMON: dict[str, Read] = {
    "name": lambda reader, value: reader.matching(value, NODE, "the name of a flow"),
    "version": Values.version,
    "description": Values.text,
}

LEAVES = frozenset({"flow", "tool", "module"})
"""Kinds of nodes that act themselves: only they can wait for an approval."""

KINDS: dict[str, tuple[Read, dict[str, Read], tuple[str, ...]]] = {
    "flow": (lambda reader, value: reader.matching(value, _REFERENCE, "module:flow"), {}, ()),
    "tool": (
        lambda reader, value: reader.matching(value, _TOOL, "server/tool"),
        {
            "effect": Values.effect,
            "pin": lambda reader, value: reader.matching(value, re.compile(r"[0-9a-f]{8,128}"), "the digest of the tool's description"),
            "limit": Values.duration,
            "input": Values.typed,
            "output": Values.typed,
        },
        (),
    ),
    "when": (_question, {"then": Values.chain, "otherwise": Values.chain}, ("then",)),
    "switch": (_question, {"cases": _cases, "default": Values.chain}, ("cases",)),
    "foreach": (Values.chain, {"at_once": _items}, ()),
    "loop": (Values.chain, {"while": _question, "most": lambda reader, value: reader.count(value, MAX_ROUNDS)}, ("while",)),
    "batch": (Values.chain, {"size": _items, "at_once": _items}, ("size",)),
    "scatter": (Values.chain, {"queue": Values.text, "at_once": _items}, ()),
    "reduce": (Values.chain, {"start": _data}, ()),
    "gather": (_gathered, {"reducer": Values.chain, "start": _data}, ("reducer",)),
    "saga": (Values.chain, {}, ()),
    "optimize": (Values.chains, {"goal": _goal, "explore": Values.share, "score": Values.chain}, ()),
    "tuned": (Values.chain, {"parameters": _data}, ("parameters",)),
    "learn": (
        Values.chain,
        {"metric": Values.chain, "held_out": Values.share, "level": Values.share, "seed": Values.whole, "at_once": _items},
        (),
    ),
    "parallel": (Values.chains, {}, ()),
    "race": (Values.chains, {}, ()),
    "sub": (Values.chain, {}, ()),
    "agent": (_agent, {"input": Values.typed, "output": Values.typed}, ()),
    "module": (
        lambda reader, value: reader.matching(value, _MODULE, "name@version of a module, with :function where it has several"),
        {"effect": Values.effect, "input": Values.typed, "output": Values.typed},
        (),
    ),
    "human": (_human, {"input": Values.typed, "output": Values.typed}, ()),
}
"""Kind -> how its value is read, what else belongs to it, and what of that must be there."""
