"""The suite for `kernel.ports.Effector`: nothing moves without a good permit, and a foreign request is refused.

class TestMyEffector(EffectorConformance):
    @pytest.fixture
    def case(self, tmp_path): return EffectorCase(MyEffector(), request, lambda: something_happened(tmp_path))
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from omega.kernel.effects import Effect, Receipt, Request
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.ports import Effector
from omega.kernel.verdict import Ask, Gate, Permit
from omega.trust.passport import Authority
from omega.warden.admit import Warden
from omega.warden.capabilities import of_port
from omega.warden.mint import PERMIT_TTL_S, permit
from omega.warden.policies import Bundle

EXECUTION = "exe_conformance"
STEP = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign(Request):
    """A request that no effector serves."""

    port: ClassVar[str] = "foreign"


@dataclass(frozen=True, slots=True)
class EffectorCase:
    """An effector, one request that it serves, and a witness: whether the world shows that the request was performed."""

    effector: Effector
    request: Request
    happened: Callable[[], bool]


_OPEN = '@id("all") @reason("a test") permit (principal, action, resource);'


class _Key:
    """Stands in for a passport key: no passport is issued or verified here."""

    name, public = "passport", bytes(32)

    def sign(self, message: bytes) -> bytes:
        return bytes(64)


def permit_for(port: str, *, clock: Callable[[], float] = time.monotonic) -> Permit:
    """A permit that a real gate minted, over a policy that permits everything."""
    capability = of_port(port, Effect.WRITE)
    claims: dict[str, Any] = {"tenant": "ten_one", "principal": "person:ada", "groups": [], "capabilities": [capability], "actors": []}
    scope = Authority(_Key(), issuer="test", audience="test").restore(
        claims | {"region": "local", "passport": "pas_1", "epoch": 0, "expires_at": 1}
    )
    ask = Ask(
        gate=Gate.TOUCH,
        scope=scope,
        execution=EXECUTION,
        step=STEP,
        epoch=1,
        flow="server/tool",
        flow_digest="",
        effect=Effect.WRITE,
        input_commitment=bytes(32),
        now=0.0,
        needs=frozenset({capability}),
        kind="tool" if port == "mcp" else "task",
        resource={"server": "server", "tool": "tool"} if port == "mcp" else {},
    )
    return permit(ask, Warden(Bundle.load({"open.cedar": _OPEN})).ask(ask), port, clock)


class EffectorConformance:
    """What every effector promises. Subclass it and override `case`."""

    @pytest.fixture
    def case(self) -> EffectorCase:
        """To be overridden."""
        raise pytest.UsageError("override the fixture case")

    def test_with_a_permit_it_acts_once_and_reports_what_it_cost(self, case: EffectorCase) -> None:
        assert not case.happened()
        permit = permit_for(case.effector.port)
        _, receipt = perform(case, permit)
        assert case.happened()
        assert isinstance(receipt, Receipt)
        assert min(receipt.cost_micros, receipt.tokens, receipt.bytes_in, receipt.bytes_out) >= 0
        refused(case, permit)

    def test_it_serves_the_port_of_its_request(self, case: EffectorCase) -> None:
        assert case.effector.port == type(case.request).port

    def test_without_a_permit_nothing_happens(self, case: EffectorCase) -> None:
        nothing: Any = None
        with pytest.raises((OmegaError, AttributeError, TypeError)):
            perform(case, nothing)
        assert not case.happened()

    def test_with_a_made_up_permit_nothing_happens(self, case: EffectorCase) -> None:
        class MadeUp:
            port = case.effector.port
            execution, step, epoch, tenant = EXECUTION, STEP, 1, "ten_one"

        made_up: Any = MadeUp()
        with pytest.raises((OmegaError, AttributeError, TypeError)):
            perform(case, made_up)
        assert not case.happened()

    def test_with_a_permit_for_another_port_nothing_happens(self, case: EffectorCase) -> None:
        refused(case, permit_for("another"))
        assert not case.happened()

    def test_with_an_old_permit_nothing_happens(self, case: EffectorCase) -> None:
        now = 1_000.0
        permit = permit_for(case.effector.port, clock=lambda: now)
        now += PERMIT_TTL_S + 1
        refused(case, permit)
        assert not case.happened()

    def test_a_permit_cannot_be_copied_for_a_second_touch(self, case: EffectorCase) -> None:
        with pytest.raises(Denied):
            copy.copy(permit_for(case.effector.port))

    def test_a_foreign_request_is_refused_and_uses_the_permit_up(self, case: EffectorCase) -> None:
        permit = permit_for(case.effector.port)
        with pytest.raises(InputError) as caught:
            perform(EffectorCase(case.effector, Foreign(), case.happened), permit)
        assert caught.value.code == "OMG-I001"
        refused(case, permit)
        assert not case.happened()


def perform(case: EffectorCase, permit: Permit) -> tuple[Any, Receipt]:
    """One touch, on an event loop of its own; an effector that holds something is closed on the same loop."""

    async def whole() -> tuple[Any, Receipt]:
        try:
            return await case.effector.perform(permit, case.request, execution=EXECUTION, step=STEP)
        finally:
            aclose = getattr(case.effector, "aclose", None)
            if aclose is not None:
                await aclose()

    return asyncio.run(whole())


def refused(case: EffectorCase, permit: Permit) -> None:
    """The touch is denied with OMG-W006."""
    with pytest.raises(Denied) as caught:
        perform(case, permit)
    assert caught.value.code == "OMG-W006"
