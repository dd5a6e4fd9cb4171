"""The pure parts of `document-extraction.poml`: a batch of papers becomes records that can be booked, and a pile for a person."""

from __future__ import annotations

import re
from decimal import Decimal

from pydantic import BaseModel

from omega import flow


class Record(BaseModel):
    """What was read from one paper. `doubt` says why a person should look; empty where nobody needs to."""

    kind: str
    supplier: str = ""
    number: str = ""
    cents: int = 0
    doubt: str = ""


class Report(BaseModel):
    """The batch: cents per supplier, and what is left for a person."""

    cents: dict[str, int]
    pile: list[str]


@flow
def papers(batch: str) -> list[str]:
    """The papers of a batch, which lines of dashes part."""
    return [paper.strip() for paper in re.split(r"^-{3,}$", batch, flags=re.M) if paper.strip()]


@flow
def kind(paper: str) -> str:
    """What sort of paper it is, by the words on it."""
    first = paper.splitlines()[0].lower()
    return next((name for name in ("invoice", "receipt") if name in first), "unknown")


@flow
def invoice(paper: str) -> Record:
    """An invoice: number, supplier, total. Raises ValueError where one of them is not there."""
    found = _fields(paper, "number", "from", "total")
    return Record(kind="invoice", supplier=found["from"], number=found["number"], cents=_cents(found["total"]))


@flow
def receipt(paper: str) -> Record:
    """A receipt: shop and sum. Raises ValueError where one of them is not there."""
    found = _fields(paper, "shop", "sum")
    return Record(kind="receipt", supplier=found["shop"], cents=_cents(found["sum"]))


@flow
def loose(paper: str) -> Record:
    """The largest amount on the paper, when nothing better is found. Raises ValueError where there is no amount."""
    amounts = re.findall(r"\d[\d.,]*[.,]\d\d\b", paper)
    if not amounts:
        raise ValueError("there is no amount on it")
    return Record(kind="paper", supplier="unknown", cents=max(map(_cents, amounts)), doubt="only an amount was found")


@flow
def unread(paper: str) -> Record:
    """A paper that nobody could read."""
    return Record(kind="paper", doubt=f"not read: {paper.splitlines()[0][:40]}")


@flow
def verify(record: Record) -> Record:
    """The record, doubted where it cannot be right."""
    if record.doubt or 0 < record.cents < 1_000_000:
        return record
    return record.model_copy(update={"doubt": f"an amount of {record.cents} cents"})


@flow
def totals(records: list[Record]) -> dict[str, int]:
    """Cents per supplier, of what nobody needs to look at."""
    sound = [record for record in records if not record.doubt]
    return {name: sum(record.cents for record in sound if record.supplier == name) for name in sorted({each.supplier for each in sound})}


@flow
def pile(records: list[Record]) -> list[str]:
    """Why a person should look, for each paper where one should."""
    return [record.doubt for record in records if record.doubt]


@flow
def report(found: tuple[dict[str, int], list[str]]) -> Report:
    """Both together."""
    return Report(cents=found[0], pile=found[1])


def _fields(paper: str, *names: str) -> dict[str, str]:
    found = {name.lower(): value.strip() for name, value in re.findall(r"^(\w+):(.*)$", paper, flags=re.M)}
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"there is no {missing[0]} on it")
    return {name: found[name] for name in names}


def _cents(amount: str) -> int:
    digits = re.sub(r"[^\d.,]", "", amount)
    whole, _, rest = digits.replace(",", ".").rpartition(".")
    return int(Decimal(f"{whole.replace('.', '') or 0}.{rest}") * 100)
