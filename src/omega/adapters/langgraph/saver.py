"""A LangGraph checkpointer on Omega's journal: a thread is an execution, its checkpoints are sealed rows.

    aput            one durable commit, shared with everything else that is written at that moment; a leaf in the tenant's log covers it
    aput_writes     written behind: on disk before the checkpoint that follows, and within the store's bound in any case; what a graph
                    cannot go on without (an error, an interrupt, a resume value) is committed at once
    adelete_thread  the thread ends; its name is free again
    aprune          what is kept goes on in a new execution; the old one has ended, and retention takes it

The methods without `a` wait for the engine's event loop and are for other threads: a graph run with `invoke` beside an engine that runs
elsewhere. On that loop itself reading works, and writing is refused, because it would wait for itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from omega.adapters.langgraph.history import CHECKPOINT, EMPTY, WRITES, History, Kept, NewChannel, Typed, Write
from omega.adapters.langgraph.serde import StrictSerializer
from omega.adapters.langgraph.threads import Notebooks, Threads
from omega.kernel.errors import FlowError, InputError, StorageError

T = TypeVar("T")

MAX_THREAD = 1024
"""Longest name of a thread, in characters."""

Body = tuple[str, bytes, str, bytes]
"""A checkpoint without its channel values, and its metadata, each as form and bytes."""

_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode


class OmegaSaver(BaseCheckpointSaver[str]):
    """Keeps the checkpoints of LangGraph graphs in Omega's journal. Made by `omega.host.interop`.

    `allow` lists the types, beside those that LangGraph calls safe, that stored values may be rebuilt as.
    """

    def __init__(self, notebooks: Notebooks, loop: asyncio.AbstractEventLoop, *, allow: Iterable[type] = ()) -> None:
        super().__init__(serde=StrictSerializer(allow))
        self._threads = Threads(notebooks)
        self._loop = loop

    def get_next_version(self, current: str | None, channel: None) -> str:
        """The next version of a channel: counted, and unique over all branches of a thread."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:08d}.{secrets.token_hex(4)}"

    # -- what LangGraph asks for, asynchronously

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Store a checkpoint; it is on disk when this returns. Gives the config that finds it again.

        Raises FlowError: OMG-R002 for a value that may not be stored, OMG-R003 for one that is too large; StorageError (OMG-S006) when
        another run has written to the thread since this one began.
        """
        thread, space = _place(config)
        body, channels = self._taken_apart(config, checkpoint, metadata, new_versions)
        name, parent = checkpoint["id"], get_checkpoint_id(config) or ""

        def make(history: History) -> bytes:
            return history.checkpoint(space, name, parent, body, channels)

        await self._on_loop(self._threads.write(thread, CHECKPOINT, make, durable=True))
        return _config(thread, space, name)

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Store what a task wrote under the checkpoint it ran from. Raises what `aput` raises, and InputError (OMG-I001) without one."""
        thread, space = _place(config)
        checkpoint = get_checkpoint_id(config)
        if not checkpoint:
            raise InputError("OMG-I001", "writes belong to a checkpoint, and the config names none")
        items = [
            (WRITES_IDX_MAP.get(channel, number), channel, self._typed(channel, value)) for number, (channel, value) in enumerate(writes)
        ]
        plain = History.writes(space, checkpoint, task_id, task_path, items)
        telling = any(number < 0 for number, _, _ in items)
        await self._on_loop(self._threads.write(thread, WRITES, lambda _: plain, durable=telling))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """One checkpoint with its values and pending writes: the one that the config names, or the latest of its namespace."""
        return await self._on_loop(self._later(lambda: self._find(config)))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, the newest first; of every thread when there is no config."""
        for found in await self._on_loop(self._later(lambda: self._matching(config, filter, before, limit))):
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        """End a thread. Nothing of it is found any more; its journal can still be proved."""
        await self._on_loop(self._keep(thread_id, lambda history: []))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove every checkpoint that one of these runs made, in whatever thread."""
        gone = frozenset(run_ids)

        def others(history: History) -> list[Kept]:
            return [kept for kept in history.oldest_first() if self._metadata(kept).get("run_id") not in gone]

        for thread in await self._on_loop(self._later(self._threads.names)) if gone else ():
            await self._on_loop(self._keep(thread, others))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of one thread to another."""
        await self._on_loop(self._threads.copy(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep the latest checkpoint of each namespace, with what its delta channels are rebuilt from (`keep_latest`), or nothing.

        Raises InputError (OMG-I001) for a strategy that is neither `keep_latest` nor `delete`.
        """
        if strategy not in ("keep_latest", "delete"):
            raise InputError("OMG-I001", f"{strategy[:40]!r} is no way to prune: keep_latest or delete")
        for thread in thread_ids:
            await self._on_loop(self._keep(thread, self._latest if strategy == "keep_latest" else lambda history: []))

    # -- the same, from another thread

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """See `aput`."""
        return self._wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """See `aput_writes`."""
        self._wait(self.aput_writes(config, writes, task_id, task_path))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `aget_tuple`."""
        return self._read(lambda: self._find(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """See `alist`."""
        yield from self._read(lambda: self._matching(config, filter, before, limit))

    def delete_thread(self, thread_id: str) -> None:
        """See `adelete_thread`."""
        self._wait(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See `adelete_for_runs`."""
        self._wait(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See `acopy_thread`."""
        self._wait(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See `aprune`."""
        self._wait(self.aprune(thread_ids, strategy=strategy))

    # -- taking apart and putting together

    def _taken_apart(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> tuple[bytes, Sequence[NewChannel]]:
        values = checkpoint["channel_values"]
        rest = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        body = _encode((*self._typed("checkpoint", rest), *self._typed("metadata", get_checkpoint_metadata(config, metadata))))
        channels = [
            NewChannel(channel, version, self._typed(channel, values[channel]) if channel in values else (EMPTY, b""))
            for channel, version in new_versions.items()
        ]
        return body, channels

    def _typed(self, channel: str, value: Any) -> Typed:
        try:
            return self.serde.dumps_typed(value)
        except FlowError as error:
            details = error.details | {"path": channel}
            raise FlowError(error.code, f"{channel}: {error.cause}", advice=error.advice, details=details) from error

    def _metadata(self, kept: Kept) -> dict[str, Any]:
        form, plain = _decode_body(kept.body.read())[2:]
        metadata: dict[str, Any] = self.serde.loads_typed((form, plain))
        return metadata

    def _versions(self, kept: Kept) -> dict[str, Any]:
        form, plain = _decode_body(kept.body.read())[:2]
        versions: dict[str, Any] = self.serde.loads_typed((form, plain))["channel_versions"]
        return versions

    def _tuple(self, history: History, thread: str, kept: Kept) -> CheckpointTuple:
        form, plain, meta_form, meta_plain = _decode_body(kept.body.read())
        checkpoint = self.serde.loads_typed((form, plain))
        stored = {name: history.value(kept.namespace, name, version) for name, version in checkpoint["channel_versions"].items()}
        checkpoint["channel_values"] = {name: self.serde.loads_typed(value) for name, value in stored.items() if value is not None}
        return CheckpointTuple(
            config=_config(thread, kept.namespace, kept.checkpoint),
            checkpoint=checkpoint,
            metadata=self.serde.loads_typed((meta_form, meta_plain)),
            parent_config=_config(thread, kept.namespace, kept.parent) if kept.parent else None,
            pending_writes=[
                (write.task, write.channel, self.serde.loads_typed(write.value))
                for write in history.written(kept.namespace, kept.checkpoint)
            ],
        )

    # -- finding

    def _find(self, config: RunnableConfig) -> CheckpointTuple | None:
        thread, space = _place(config)
        history = self._threads.read(thread)
        kept = None if history is None else history.find(space, get_checkpoint_id(config) or "")
        return None if history is None or kept is None else self._tuple(history, thread, kept)

    def _matching(
        self, config: RunnableConfig | None, wanted: dict[str, Any] | None, before: RunnableConfig | None, limit: int | None
    ) -> Sequence[CheckpointTuple]:
        found: Sequence[CheckpointTuple] = []
        for thread in self._threads.names() if config is None else (_place(config)[0],):
            history = self._threads.read(thread)
            if history is not None and (limit is None or len(found) < limit):
                rest = None if limit is None else limit - len(found)
                found = [*found, *self._of_thread(history, thread, config, wanted, before, rest)]
        return found

    def _of_thread(
        self,
        history: History,
        thread: str,
        config: RunnableConfig | None,
        wanted: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Iterator[CheckpointTuple]:
        space = None if config is None else config["configurable"].get("checkpoint_ns")
        name = None if config is None else get_checkpoint_id(config)
        earlier = None if before is None else get_checkpoint_id(before)
        left = limit
        for kept in history.newest_first():
            if left == 0:
                return
            if (space is not None and kept.namespace != space) or (name and kept.checkpoint != name):
                continue
            if earlier and kept.checkpoint >= earlier:
                continue
            if wanted and not wanted.items() <= self._metadata(kept).items():
                continue
            left = None if left is None else left - 1
            yield self._tuple(history, thread, kept)

    # -- keeping a part

    async def _keep(self, thread: str, choose: Callable[[History], Sequence[Kept]]) -> None:
        """Go on with what `choose` gives of a thread, oldest first, as if nothing else had ever been there.

        A thread of which all is kept is only read: whoever writes to it goes on.
        """
        history = self._threads.read(thread)
        if history is None or _is_all(choose(history), history):
            return
        history = await self._threads.hold(thread)
        if history is not None and not _is_all(kept := choose(history), history):
            await self._threads.replace(thread, self._rewritten(history, kept))

    def _latest(self, history: History) -> Sequence[Kept]:
        needed: dict[tuple[str, str], Kept] = {}
        seen: set[str] = set()
        for kept in history.newest_first():
            if kept.namespace not in seen:
                seen.add(kept.namespace)
                for each in self._rebuilt_from(history, kept):
                    needed[each.namespace, each.checkpoint] = each
        return [kept for kept in history.oldest_first() if (kept.namespace, kept.checkpoint) in needed]

    def _rebuilt_from(self, history: History, latest: Kept) -> Iterator[Kept]:
        """A checkpoint, and the ancestors whose writes make up its delta channels: back to where each was last stored whole."""
        open_channels = set(self._metadata(latest).get("counters_since_delta_snapshot") or ())
        kept: Kept | None = latest
        while kept is not None:
            yield kept
            versions = self._versions(kept)
            open_channels -= {
                name for name in open_channels & versions.keys() if history.value(kept.namespace, name, versions[name]) is not None
            }
            kept = history.find(kept.namespace, kept.parent) if open_channels and kept.parent else None

    def _rewritten(self, history: History, kept: Sequence[Kept]) -> Sequence[tuple[str, bytes]]:
        fresh, entries = History(), []
        for each in kept:
            channels = [
                NewChannel(name, version, history.value(each.namespace, name, version) or (EMPTY, b""))
                for name, version in self._versions(each).items()
                if not fresh.has(each.namespace, name, version)
            ]
            entries.append((CHECKPOINT, fresh.checkpoint(each.namespace, each.checkpoint, each.parent, each.body.read(), channels)))
            fresh.take(*entries[-1])
            entries += [(WRITES, plain) for plain in _written_again(each, history.written(each.namespace, each.checkpoint))]
        return entries

    # -- between event loops and threads

    async def _later(self, work: Callable[[], T]) -> T:
        return work()

    async def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """`work` on the engine's loop, from whatever loop it is asked."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(self._hand_over(work))

    def _hand_over(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if not self._loop.is_running():
            work.close()
            raise StorageError("OMG-S004", "the engine of this saver was closed", advice="use the saver while its engine is open")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._is_here():
            work.close()
            raise InputError(
                "OMG-R008",
                "a checkpoint would be written on the engine's own event loop, which would wait for itself",
                advice="run the graph with ainvoke or astream there, or with invoke in another thread",
            )
        return self._hand_over(work).result()

    def _read(self, work: Callable[[], T]) -> T:
        return work() if self._is_here() else self._wait(self._later(work))

    def _is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False


def _place(config: RunnableConfig) -> tuple[str, str]:
    """Thread and namespace. Raises InputError (OMG-I001) without a usable thread."""
    named = config.get("configurable") or {}
    thread = str(named.get("thread_id") or "")
    if not 0 < len(thread) <= MAX_THREAD:
        raise InputError("OMG-I001", f"a config needs a thread_id of 1 to {MAX_THREAD} characters")
    return thread, str(named.get("checkpoint_ns") or "")


def _config(thread: str, space: str, checkpoint: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": checkpoint}}


def _is_all(kept: Sequence[Kept], history: History) -> bool:
    return bool(kept) and len(kept) == len(history.newest_first())


def _written_again(kept: Kept, writes: Sequence[Write]) -> Iterator[bytes]:
    tasks: dict[tuple[str, str], list[tuple[int, str, Typed]]] = {}
    for write in writes:
        tasks.setdefault((write.task, write.path), []).append((write.number, write.channel, write.value))
    for (task, path), items in tasks.items():
        yield History.writes(kept.namespace, kept.checkpoint, task, path, items)
