"""The pure parts of `research.poml`: a question is answered from a small library, and every sentence says where it is from."""

from __future__ import annotations

import re

from pydantic import BaseModel

from omega import flow

LIBRARY = {
    "journals": "A journal records each step before its result is used. After a crash what is recorded is read back, not run again.",
    "leases": "A lease lets one worker own an execution for a while. After a longer pause its writes are refused.",
    "group commit": "Group commit writes many records with one flush to disk. It is done when the writer is idle, never on a timer.",
    "merkle trees": "A Merkle tree commits to a whole log with one hash. Any change of a record changes it, and a copy tells.",
    "retries": "A retry repeats what failed, later each time. Writes are not repeated: the first one may have been done.",
}
"""What is known, by title."""

_SMALL = frozenset({"a", "an", "and", "are", "does", "for", "how", "in", "is", "it", "of", "on", "the", "this", "to", "was", "what", "why"})


class Source(BaseModel):
    """A note of the library, and how well it matches."""

    title: str
    score: int


class Passage(BaseModel):
    """A sentence of a source that speaks of a part of the question."""

    source: str
    sentence: str


class Claim(BaseModel):
    """A sentence of the answer. `holds` says that its source really contains it."""

    sentence: str
    source: str
    holds: bool = False


class Answer(BaseModel):
    """The answer, sentence by sentence with its source in brackets."""

    text: str
    sources: list[str]
    complete: bool


@flow
def plan(question: str) -> list[str]:
    """The parts of a question."""
    return [part.strip(" ?") for part in re.split(r",| and |\?", question) if part.strip(" ?")]


@flow
def titles(part: str) -> list[Source]:
    """Notes whose title is spoken of."""
    return [Source(title=title, score=10) for title in LIBRARY if any(word in _words(part) for word in _words(title))]


@flow
def words(part: str) -> list[Source]:
    """Notes that share words with the part."""
    found = [Source(title=title, score=len(_words(part) & _words(text))) for title, text in LIBRARY.items()]
    return [source for source in found if source.score]


@flow
def quote(found: tuple[list[Source], list[Source]]) -> list[Passage]:
    """The first sentence of the best source, by title before words."""
    best = max([*found[0], *found[1]], key=lambda source: source.score, default=None)
    if best is None:
        return []
    first = LIBRARY[best.title].partition(". ")[0]
    return [Passage(source=best.title, sentence=f"{first.rstrip('.')}.")]


@flow
def silence(parts: list[str]) -> list[list[Passage]]:
    """Nothing for any part: looking took too long."""
    return [[] for _ in parts]


@flow
def draft(found: list[list[Passage]]) -> list[Claim]:
    """One claim for each passage, each source once."""
    passages = {passage.source: passage for each in found for passage in each}
    return [Claim(sentence=passage.sentence, source=passage.source) for passage in passages.values()]


@flow
def support(claim: Claim) -> Claim:
    """Whether the source contains the sentence."""
    return claim.model_copy(update={"holds": claim.sentence.rstrip(".") in LIBRARY.get(claim.source, "")})


@flow
def answer(claims: list[Claim]) -> Answer:
    """Every claim holds."""
    return _told(claims, complete=bool(claims))


@flow
def partial(claims: list[Claim]) -> Answer:
    """What holds, said to be a part."""
    return _told([claim for claim in claims if claim.holds], complete=False)


def _told(claims: list[Claim], *, complete: bool) -> Answer:
    sources = [claim.source for claim in claims]
    text = " ".join(f"{claim.sentence} [{number}]" for number, claim in enumerate(claims, 1))
    return Answer(text=text, sources=sources, complete=complete)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower())) - _SMALL
