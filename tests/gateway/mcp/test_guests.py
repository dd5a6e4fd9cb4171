"""Questions in the middle of a call belong to whoever made the call, not to whoever knows the id of their session."""

from __future__ import annotations

import asyncio

import pytest

from omega.gateway.mcp.guests import Questions, bound
from omega.kernel.scope import Scope, mint_scope
from omega.wire.jsonrpc import Incoming


def scope(principal: str, tenant: str = "local", actors: tuple[str, ...] = ()) -> Scope:
    return mint_scope(
        tenant=tenant, principal=principal, groups=(), actors=actors, capabilities=(), passport="pas_1", epoch=0, expires_at=1
    )


ADA = scope("person:ada")


@pytest.mark.parametrize("other", [scope("person:eve"), scope("person:ada", "ten_b"), scope("person:ada", actors=("agent:x",))])
def test_nobody_else_answers_what_a_caller_was_asked(other: Scope) -> None:
    async def work() -> None:
        questions = Questions()
        id, answer = questions.begin(bound("session", ADA))
        said = Incoming(id=id, method="", params={}, result={"action": "accept"})
        assert not questions.answer(bound("session", other), said)
        assert not questions.answer(bound("another", ADA), said) and not answer.done()
        assert questions.answer(bound("session", ADA), said) and answer.result() is said

    asyncio.run(work())


def test_without_a_session_nothing_is_asked() -> None:
    assert bound("", ADA) == ""
