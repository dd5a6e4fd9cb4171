"""The effector for Ray: hands items to the cluster, a bounded number at a time, and gathers what comes back."""

from __future__ import annotations

import asyncio
from typing import Any

from omega.adapters.ray.spread import Spread, run_one
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, UpstreamError, from_record
from omega.kernel.verdict import Permit


class RayEffector:
    """Serves `Spread` on the cluster at `address` (as `ray.init` takes it; None starts or finds one on this machine).

        async with Omega.open(effectors=[RayEffector("ray://cluster:10001")]) as omega: ...

    The cluster is reached at the first touch. `options` go to `ray.init`.
    """

    port = Spread.port

    def __init__(self, address: str | None = None, **options: Any) -> None:
        self._address = address
        self._options = options
        self._work: Any = None

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[list[bytes], Receipt]:
        """The results in the items' order. The first failure cancels the rest and is raised as the item's own error.

        Raises InputError (OMG-P001) without the extra, UpstreamError (OMG-P007) when the cluster fails, (OMG-P003) when time runs out.
        """
        permit.spend(self.port)
        if not isinstance(request, Spread):
            raise InputError("OMG-I001", f"the ray port spreads work, not {type(request).__name__}")
        try:
            async with asyncio.timeout(request.timeout_s):
                results = await self._gather(await asyncio.to_thread(self._connect), request)
        except TimeoutError:
            raise UpstreamError("OMG-P003", f"the cluster took longer than {request.timeout_s:g} s") from None
        return results, Receipt(bytes_out=sum(map(len, request.items)), bytes_in=sum(map(len, results)))

    async def _gather(self, work: Any, request: Spread) -> list[bytes]:
        import ray

        results: list[bytes] = [b""] * len(request.items)
        todo = iter(enumerate(request.items))

        async def feed() -> None:
            for index, item in todo:
                reference = work.remote(request.at, request.digest, request.codes, item)
                try:
                    done, value = await asyncio.wrap_future(reference.future())
                except asyncio.CancelledError:
                    ray.cancel(reference)
                    raise
                except ray.exceptions.RayError as error:
                    raise UpstreamError("OMG-P007", f"the cluster failed at item {index}: {type(error).__name__}") from error
                if not done:
                    raise from_record(value)
                results[index] = value

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(request.at_once, len(results))):
                    group.create_task(feed())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return results

    def _connect(self) -> Any:
        """The remote function, connected on first use. Blocks: a local cluster takes seconds to start."""
        if self._work is None:
            try:
                import ray
            except ImportError:
                raise InputError("OMG-P001", "Ray is not installed", advice="install omega-platform[ray]") from None
            try:
                if not ray.is_initialized():
                    ray.init(address=self._address, log_to_driver=False, **self._options)
            except (ConnectionError, OSError, RuntimeError) as error:
                raise UpstreamError("OMG-P007", f"the Ray cluster cannot be reached: {type(error).__name__}") from error
            self._work = ray.remote(run_one)
        return self._work
