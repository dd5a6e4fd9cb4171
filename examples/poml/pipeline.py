"""The pure parts of `data-pipeline.poml`: rows of text become numbers, odd ones are set right, the rest is summed up per kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from omega import flow


class Row(BaseModel):
    """One measured value."""

    kind: str
    value: float


@flow
def split(text: str) -> list[str]:
    """The lines that hold something."""
    return [line for line in text.splitlines() if line.strip()]


@flow
def exact(line: str) -> Row:
    """`kind,value` with a number as programs write it. Raises ValueError for anything else."""
    kind, value = line.split(",")
    if not kind.isalpha():
        raise ValueError(f"{kind!r} is no kind")
    return Row(kind=kind.strip(), value=float(value))


@flow
def lenient(line: str) -> Row:
    """The same with a decimal comma and a semicolon, as people write it."""
    kind, value = line.split(";")
    return Row(kind=kind.strip(), value=float(value.replace(",", ".")))


@flow
def kind(row: Row) -> str:
    """What sort of value it is: decides who mends it."""
    return row.kind


@flow
def celsius(row: Row) -> Row:
    """Kelvin as degrees Celsius."""
    return Row(kind="temperature", value=round(row.value - 273.15, 2))


@flow
def positive(row: Row) -> Row:
    """A pressure is never negative."""
    return Row(kind="pressure", value=abs(row.value))


@flow
def unchanged(row: Row) -> Row:
    """Any other value, as it is."""
    return row


@flow
def mean(rows: list[Row]) -> dict[str, Any]:
    """The mean of all values."""
    return {"mean": round(sum(row.value for row in rows) / len(rows), 2) if rows else None}


@flow
def count(rows: list[Row]) -> dict[str, Any]:
    """How many there are of each kind."""
    return {name: sum(row.kind == name for row in rows) for name in sorted({row.kind for row in rows})}
