"""The checkpoints of one thread, folded from its entries and kept up with what is added: pure, no serialisation of user values, no I/O.

An entry is MessagePack of one of two records. A value is stored once per channel and version, and as its difference from the version that
the parent checkpoint had, and from what the parent's tasks wrote; a checkpoint itself as its difference from its parent. Nothing is ever
stored as a whole twice, so a thread takes about the bytes that its user put in.

    writes       what one task wrote, under the checkpoint it ran from
    checkpoint   a checkpoint, its metadata, and the channels that have a new version in it

The channel versions come from `OmegaSaver.get_next_version`, which makes them unique over all branches of a thread; where they are not (a
saver of another kind made them), the latest value of a version counts, as in the savers of LangGraph itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from omega.adapters.langgraph.delta import Piece, Value
from omega.kernel.errors import IntegrityError

CHECKPOINT = "checkpoint"
WRITES = "writes"

Version = str | int | float
Typed = tuple[str, bytes]
"""What a serialiser gives: the name of the form, and the bytes."""

MAX_FOLLOWING = 64
"""How many checkpoints may follow one another as differences: what it takes at most to read one."""

EMPTY = "empty"
"""The form of a channel that has a version and no value."""


class ChannelRecord(msgspec.Struct, frozen=True, array_like=True):
    """A new version of a channel; `base` is the version it is a difference from (None: written out), `written` how many of the parent's
    writes to the channel the pieces may refer to."""

    channel: str
    version: Version
    form: str
    size: int
    pieces: list[Piece]
    base: Version | None
    written: int


class CheckpointRecord(msgspec.Struct, frozen=True, array_like=True):
    """A checkpoint. `pieces` make its body, `follows` tells whether they refer to its parent's."""

    namespace: str
    checkpoint: str
    parent: str
    size: int
    pieces: list[Piece]
    follows: bool
    channels: list[ChannelRecord]


class WritesRecord(msgspec.Struct, frozen=True, array_like=True):
    """What one task wrote: (number, channel, form, bytes) each."""

    namespace: str
    checkpoint: str
    task: str
    path: str
    items: list[tuple[int, str, str, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_DECODERS: dict[str, msgspec.msgpack.Decoder[CheckpointRecord | WritesRecord]] = {
    CHECKPOINT: msgspec.msgpack.Decoder(CheckpointRecord),
    WRITES: msgspec.msgpack.Decoder(WritesRecord),
}


@dataclass(frozen=True, slots=True)
class Write:
    """One value that a task wrote."""

    task: str
    path: str
    number: int
    channel: str
    value: Typed


@dataclass(slots=True)
class Kept:
    """One checkpoint as it is kept: `body` is what the saver handed in."""

    namespace: str
    checkpoint: str
    parent: str
    body: Value


@dataclass(slots=True)
class _Writes:
    """What was written under one checkpoint: each in order of arrival, and what counts."""

    arrived: dict[str, list[bytes]] = field(default_factory=dict)
    counting: dict[tuple[str, int], Write] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel that has a new version: its typed value, or (EMPTY, b"")."""

    channel: str
    version: Version
    value: Typed


class History:
    """Everything that is known of one thread. `size` estimates the memory it takes, in bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._kept: dict[tuple[str, str], Kept] = {}
        self._writes: dict[tuple[str, str], _Writes] = {}
        self._values: dict[tuple[str, str, Version], tuple[str, Value]] = {}
        self._latest: dict[tuple[str, str], Version] = {}
        self._recent: dict[tuple[str, str], tuple[Version, bytes]] = {}
        self._body: dict[str, tuple[str, bytes]] = {}

    @classmethod
    def of(cls, entries: Iterable[tuple[str, bytes]]) -> History:
        """The fold of a thread's entries. Raises IntegrityError (OMG-S005) for one that cannot be read."""
        history = cls()
        for sort, plain in entries:
            history.take(sort, plain)
        return history

    # -- taking in

    def take(self, sort: str, plain: bytes) -> None:
        """The next entry. An entry of another sort is left alone: a newer release may have written it."""
        decoder = _DECODERS.get(sort)
        if decoder is None:
            return
        try:
            record = decoder.decode(plain)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise IntegrityError("OMG-S005", f"an entry of sort {sort} does not parse") from error
        self.size += len(plain)
        if isinstance(record, WritesRecord):
            self._take_writes(record)
        else:
            self._take_checkpoint(record)

    def _take_writes(self, record: WritesRecord) -> None:
        under = self._writes.setdefault((record.namespace, record.checkpoint), _Writes())
        for number, channel, form, plain in record.items:
            under.arrived.setdefault(channel, []).append(plain)
            if number < 0 or (record.task, number) not in under.counting:
                under.counting[record.task, number] = Write(record.task, record.path, number, channel, (form, plain))

    def _take_checkpoint(self, record: CheckpointRecord) -> None:
        space = record.namespace
        parent = self._kept.get((space, record.parent))
        if record.follows and parent is None:
            raise IntegrityError("OMG-S005", f"checkpoint {record.checkpoint} follows one that is not recorded")
        body = Value(tuple(record.pieces), record.size, parent.body if record.follows and parent is not None else None)
        self._kept[space, record.checkpoint] = Kept(space, record.checkpoint, record.parent, body)
        for each in record.channels:
            base = None if each.base is None else self._values.get((space, each.channel, each.base))
            if each.base is not None and base is None:
                raise IntegrityError("OMG-S005", f"a version of channel {each.channel} follows one that is not recorded")
            others = self._arrived(space, record.parent, each.channel)[: each.written]
            value = Value(tuple(each.pieces), each.size, None if base is None else base[1], tuple(others))
            self._values[space, each.channel, each.version] = (each.form, value)
            self._latest[space, each.channel] = each.version

    def _arrived(self, space: str, checkpoint: str, channel: str) -> list[bytes]:
        under = self._writes.get((space, checkpoint))
        return [] if under is None else under.arrived.get(channel, [])

    # -- making entries; each is what `take` takes

    def checkpoint(self, space: str, checkpoint: str, parent: str, body: bytes, channels: Sequence[NewChannel]) -> bytes:
        """The entry for a checkpoint."""
        before = self._kept.get((space, parent))
        recent = self._body.get(space, ("", b""))
        self._body[space] = (checkpoint, body)
        base = None if before is None or before.body.depth >= MAX_FOLLOWING else before.body
        kept = Value.after(base, (), body, known=recent[1] if recent[0] == parent else None)
        return _encode(
            CheckpointRecord(
                namespace=space,
                checkpoint=checkpoint,
                parent=parent,
                size=kept.size,
                pieces=list(kept.pieces),
                follows=kept.base is not None,
                channels=[self._channel(space, parent, each) for each in channels],
            )
        )

    def _channel(self, space: str, parent: str, new: NewChannel) -> ChannelRecord:
        form, plain = new.value
        before = self._latest.get((space, new.channel))
        stored = None if before is None else self._values[space, new.channel, before]
        base = stored[1] if stored is not None and stored[0] == form else None
        others = self._arrived(space, parent, new.channel)
        recent = self._recent.get((space, new.channel))
        known = recent[1] if recent is not None and recent[0] == before else None
        value = Value.after(base, others, plain, known=known)
        self._recent[space, new.channel] = (new.version, plain)
        refers = len(value.pieces) != 1 or not isinstance(value.pieces[0], bytes)
        return ChannelRecord(
            channel=new.channel,
            version=new.version,
            form=form,
            size=value.size,
            pieces=list(value.pieces),
            base=before if refers and base is not None else None,
            written=len(others) if refers else 0,
        )

    @staticmethod
    def writes(space: str, checkpoint: str, task: str, path: str, items: Sequence[tuple[int, str, Typed]]) -> bytes:
        """The entry for what a task wrote: (number, channel, value) each."""
        flat = [(number, channel, *value) for number, channel, value in items]
        return _encode(WritesRecord(namespace=space, checkpoint=checkpoint, task=task, path=path, items=flat))

    # -- reading

    def find(self, space: str, checkpoint: str = "") -> Kept | None:
        """One checkpoint, the latest of its namespace when none is named; None when it is not there."""
        if checkpoint:
            return self._kept.get((space, checkpoint))
        return max((kept for kept in self._kept.values() if kept.namespace == space), key=lambda kept: kept.checkpoint, default=None)

    def newest_first(self) -> list[Kept]:
        """Every checkpoint of every namespace."""
        return sorted(self._kept.values(), key=lambda kept: kept.checkpoint, reverse=True)

    def oldest_first(self) -> Iterator[Kept]:
        """Every checkpoint after the one it follows."""
        return iter(self._kept.values())

    def has(self, space: str, channel: str, version: Version) -> bool:
        """Whether that version of a channel is stored, with or without a value."""
        return (space, channel, version) in self._values

    def value(self, space: str, channel: str, version: Version) -> Typed | None:
        """The typed value of one version of a channel; None when it has none."""
        stored = self._values.get((space, channel, version))
        if stored is None or stored[0] == EMPTY:
            return None
        recent = self._recent.get((space, channel))
        if recent is not None and recent[0] == version:
            return stored[0], recent[1]
        plain = stored[1].read()
        self._recent[space, channel] = (version, plain)
        return stored[0], plain

    def written(self, space: str, checkpoint: str) -> list[Write]:
        """What was written under a checkpoint, in the order in which a superstep applies it: by task path, task, number."""
        under = self._writes.get((space, checkpoint))
        return [] if under is None else sorted(under.counting.values(), key=lambda write: (write.path, write.task, write.number))
