"""The nouns of Log."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from omega.contracts.auditing import MAX_FOUND, MAX_PART

MAX_INDEX = 2**53
"""Beyond every index and moment: the largest whole number that all JSON readers keep."""

MAX_FOLLOWED = 10_000
"""Most leaves of one stream: they are kept as its value, so a longer one is followed on after its last leaf."""

MAX_WORD = 1_024
"""Longest text of a search, in characters."""


class About(BaseModel):
    """What leaves are picked by: every field that is given must match, whole, but for `text`, which any name, reason or note contains."""

    kind: str = Field(default="", max_length=MAX_WORD, description="entry, admit, outcome, deny, end, approve and so on; empty for all")
    principal: str = Field(default="", max_length=MAX_WORD, description="whose call: person:NAME, agent:NAME")
    flow: str = Field(default="", max_length=MAX_WORD)
    execution: str = Field(default="", max_length=MAX_WORD)
    decision: str = Field(default="", max_length=MAX_WORD, description="allow, deny, needs")
    text: str = Field(default="", max_length=MAX_WORD, description="in any name, reason or note")


class Search(About):
    """What to look for."""

    since_us: int = Field(default=0, ge=0, le=MAX_INDEX, description="Unix microseconds, that moment included; 0 for the beginning")
    until_us: int = Field(default=0, ge=0, le=MAX_INDEX, description="Unix microseconds, that moment not included; 0 for no end")
    before: int = Field(default=0, ge=0, le=MAX_INDEX, description="the index to go back from: the next page; 0 for the end of the log")
    limit: int = Field(default=100, ge=1, le=MAX_FOUND, description="most leaves of one page")


class Flagged(BaseModel):
    """Which flagged leaves."""

    alarming: bool = Field(default=False, description="only what somebody should look at now")
    before: int = Field(default=0, ge=0, le=MAX_INDEX, description="the index to go back from: the next page; 0 for the end of the log")
    limit: int = Field(default=100, ge=1, le=MAX_FOUND, description="most leaves of one page")


class Followed(About):
    """What to follow, and for how long."""

    after: int = Field(default=-1, ge=-1, le=MAX_INDEX, description="the index of the last leaf that you have; -1 for the beginning")
    flagged: bool = Field(default=False, description="only what has a flag")
    most: int = Field(default=1_000, ge=1, le=MAX_FOLLOWED, description="end after so many leaves")
    for_s: float = Field(default=300.0, gt=0, le=1_800, description="end after so many seconds; then follow on after the last one")


class Leaves(BaseModel):
    """Leaves, newest first, each with its index and its flags; and the index to go on `before`, 0 at the beginning of the log."""

    leaves: list[dict[str, Any]]
    before: int


class Newest(BaseModel):
    """How the newest checkpoint is given."""

    lasting: bool = Field(default=True, description="with the second signature (ML-DSA-65, 3.3 kB), where the installation makes one")


class Checkpoint(BaseModel):
    """The newest signed checkpoint: what the log is, as a note to be kept elsewhere."""

    tenant: str
    size: int = Field(description="leaves that it covers")
    note: str = Field(description="the signed note, as C2SP tlog-checkpoint has it")
    keys: list[str] = Field(description="the public keys of the log, as verifier keys")


class Asked(BaseModel):
    """What to prove."""

    index: int = Field(default=-1, ge=-1, le=MAX_INDEX, description="the leaf whose place is proved; -1 for none")
    size: int = Field(default=0, ge=0, le=MAX_INDEX, description="in the log of so many leaves; 0 for all that are signed")
    old: int = Field(default=0, ge=0, le=MAX_INDEX, description="that it continues the log of so many leaves; 0 for no such proof")


class Proved(BaseModel):
    """Proofs of RFC 9162 (section 2.1) over the log of `size` leaves; hashes and the leaf are base64."""

    size: int
    root: str
    checkpoint: str = Field(description="the signed note of that very size; empty where none was signed")
    index: int
    leaf: str = Field(description="the bytes of the leaf; empty where it was pruned or none was asked for")
    leaf_hash: str
    inclusion: list[str]
    old: int
    old_root: str
    consistency: list[str]


class Wanted(BaseModel):
    """Which part of an export."""

    export: str = Field(default="", max_length=160, description="empty begins an export; then its name, as the first part gave it")
    position: int = Field(default=0, ge=0, le=MAX_INDEX, description="the byte to go on at: `next` of the part before")
    most: int = Field(default=MAX_PART, ge=1, le=MAX_PART, description="most bytes of this part")
    to: str = Field(default="", max_length=40, description="the region where the copy goes, where the log belongs to one")


class Part(BaseModel):
    """One part of an export. The parts one after the other are the file that `verify.py` checks."""

    export: str = Field(description="the name of the export: give it with the next position")
    leaves: int
    position: int
    next: int = Field(description="the position to go on at; equal to `total` after the last part")
    total: int = Field(description="bytes in all")
    sha256: str = Field(description="of the whole file, in hexadecimal")
    data: str = Field(description="the bytes of this part, in base64")
    consent: str = Field(description="why the copy may go to another region; empty where it does not")
