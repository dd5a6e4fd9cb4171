"""Ray: a pure flow on each item in a real cluster on this machine, as one touch on the road."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.ray_flows import cube, look
from omega.adapters.ray import RayEffector, on_ray
from omega.adapters.ray.spread import codes_of, run_one
from omega.host.embedded import Omega
from omega.kernel.errors import DefinitionError
from omega.kernel.ports import Outcome

TESTS = Path(__file__).resolve().parents[1]
AT = "adapters.ray_flows:cube"


def test_only_the_very_flow_and_only_a_pure_one_is_spread() -> None:
    spread = on_ray(cube, at=AT)
    assert (spread.input.name, spread.output.name, spread.effect.value) == ("list[int]", "list[int]", "read")
    for flow, at, code in [
        (look, "adapters.ray_flows:look", "OMG-F003"),
        (cube, "adapters.ray_flows:look", "OMG-F002"),
        (cube, "adapters.ray_flows:none", "OMG-F002"),
        (cube, "no.such:flow", "OMG-F002"),
        (cube, "", "OMG-F002"),
        (replace(cube, version="2.0.0", _digest=[]), AT, "OMG-F002"),
    ]:
        with pytest.raises(DefinitionError) as caught:
            on_ray(flow, at=at)
        assert caught.value.code == code
    with pytest.raises(DefinitionError, match="at_once"):
        on_ray(cube, at=AT, at_once=0)


def test_other_code_in_the_cluster_is_refused_there() -> None:
    assert run_one(AT, cube.digest, codes_of(cube), b"3") == (True, b"27")
    done, error = run_one(AT, cube.digest, "other", b"3")
    assert (done, error["code"]) == (False, "OMG-F002")


@pytest.fixture(scope="module")
def effector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayEffector]:
    ray = pytest.importorskip("ray") if "CI" not in os.environ else __import__("ray")
    paths = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
    folder = tmp_path_factory.mktemp("r", numbered=False)
    yield RayEffector(num_cpus=2, include_dashboard=False, _temp_dir=str(folder), runtime_env={"env_vars": {"PYTHONPATH": paths}})
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.promise("RAY-01")
def test_a_list_is_worked_off_by_a_cluster_as_one_recorded_touch(tmp_path: Path, effector: RayEffector) -> None:
    spread = on_ray(cube, at=AT, at_once=4)

    async def whole() -> tuple[Outcome, Outcome, bool]:
        async with Omega.open(tmp_path / "home", effectors=[effector]) as omega:
            good = await omega.run(spread, list(range(12)))
            bad = await omega.run(spread, [1, 13, 2])
            report = await omega.replay(good.execution, spread)
            return good, bad, report.identical

    good, bad, identical = asyncio.run(whole())
    assert (good.value, identical) == ([number**3 for number in range(12)], True)
    assert bad.error is not None
    assert (bad.error["code"], bad.error["cause"]) == ("OMG-I001", "thirteen is refused")
