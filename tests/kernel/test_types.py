"""Types: what may be joined, and what comes back from storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, computed_field

from omega.kernel.errors import FlowError, InputError
from omega.kernel.journal import MAX_PAYLOAD
from omega.kernel.types import ANY, Type, assignable, show, type_of, unstorable


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tail: bool = True


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (int, int, True),
        (int, float, True),
        (float, int, False),
        (bool, int, True),
        (int, bool, False),
        (int, str, False),
        (Dog, Animal, True),
        (Animal, Dog, False),
        (int, int | None, True),
        (int | None, int, False),
        (int | str, str | int | None, True),
        (int | str, int, False),
        (Optional[int], int | None, True),  # noqa: UP045 - the older spelling is what is tested
        (Literal["a"], str, True),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "c"], Literal["a", "b"], False),
        (Literal[1], Literal[True], False),
        (str, Literal["a"], False),
        (list[Dog], list[Animal], True),
        (list[Animal], list[Dog], False),
        (list[int], Sequence[int], True),
        (dict[str, int], Mapping[str, int], True),
        (tuple[int, str], tuple[int, str], True),
        (tuple[int, str], tuple[int, int], False),
        (tuple[int, int], tuple[int, ...], True),
        (tuple[int, ...], tuple[int, int], False),
        (list[int], list, True),
        (Annotated[int, "metres"], int, True),
        (int, Annotated[int, "metres"], True),
        (None, None, True),
        (type(None), int | None, True),
        (None, int, False),
        (Any, int, True),
        (int, Any, True),
        (datetime, object, True),
        (Colour, str, False),
    ],
)
@pytest.mark.promise("FLOW-03")
def test_what_may_be_handed_to_what(source: Any, target: Any, fits: bool) -> None:
    assert assignable(source, target) is fits


def union(*members: Any) -> Any:
    return Union[members]  # noqa: UP007 - made at run time


SIMPLE = st.sampled_from([int, float, str, bool, None, bytes, Animal, Dog, Colour])
TYPES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.map(lambda t: list[t]),  # type: ignore[valid-type]
        inner.map(lambda t: dict[str, t]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda pair: union(*pair, None)),
    ),
    max_leaves=4,
)


@given(TYPES, TYPES)
def test_every_type_fits_itself_any_and_each_union_it_is_in(one: Any, other: Any) -> None:
    assert assignable(one, one) and assignable(one, Any) and assignable(Any, one)
    assert assignable(one, union(one, None)) and assignable(one, union(other, one))


@given(TYPES, TYPES, TYPES)
def test_fitting_is_transitive(one: Any, two: Any, three: Any) -> None:
    if assignable(one, two) and assignable(two, three):
        assert assignable(one, three)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@given(JSON)
def test_a_loose_value_is_after_storage_what_the_next_step_saw_before(value: Any) -> None:
    data, seen = ANY.encode(value)
    assert ANY.decode(data) == seen == value


@given(st.builds(Dog, name=st.text(max_size=20), tail=st.booleans()))
def test_a_model_comes_back_as_it_was(dog: Dog) -> None:
    data, seen = type_of(Dog).encode(dog)
    assert type_of(Dog).decode(data) == dog == seen and seen is not dog


class Shade(StrEnum):
    RED = "red"


class Renamed(BaseModel):
    order_id: int = Field(alias="orderId")
    sent: int = Field(default=0, validation_alias="sentAt", serialization_alias="sentOn")


class RenamedSet(BaseModel):
    names: set[str] = Field(alias="Names")


class ByAlias(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    order_id: int = Field(alias="orderId")


class Computed(BaseModel):
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    pair: tuple[int, date]


@pytest.mark.promise("RUN-01")
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Renamed, Renamed(orderId=7, sentAt=3)),
        (ByAlias, ByAlias(orderId=7)),
        (RenamedSet, RenamedSet(Names={f"name {number}" for number in range(20)})),
        (Computed, Computed(side=3)),
        (Strict, Strict(pair=(1, date(2026, 1, 2)))),
        (list[Renamed], [Renamed(orderId=7)]),
        (dict[str, Computed], {"a": Computed(side=1)}),
    ],
)
def test_what_was_written_is_read_back_from_bytes_and_from_plain_data(annotation: Any, value: Any) -> None:
    kind = type_of(annotation)
    data, seen = kind.encode(value)
    assert seen == value == kind.decode(data) == kind.restore(json.loads(data))
    assert kind.encode(seen)[0] == data


class Swapped(BaseModel):
    model_config = ConfigDict(validate_by_name=True)
    first: int = Field(alias="second")
    second: int = Field(alias="first")


class Left(BaseModel):
    kept: int
    dropped: int = Field(exclude=True)


class Closed(Computed):
    model_config = ConfigDict(extra="forbid")


@pytest.mark.parametrize("value", [Swapped.model_construct(first=1, second=2), Left(kept=1, dropped=2), Closed(side=3)])
def test_a_type_that_cannot_read_what_it_writes_is_told_at_once(value: Any) -> None:
    with pytest.raises(FlowError) as refused:
        type_of(type(value)).encode(value)
    assert refused.value.code == "OMG-R002"


@pytest.mark.parametrize(
    ("annotation", "value"), [(float | Decimal, Decimal("1.10")), (int | Decimal, Decimal("2")), (date | datetime, datetime(2026, 1, 2))]
)
def test_what_could_be_two_types_is_from_then_on_what_it_is_read_as(annotation: Any, value: Any) -> None:
    kind = type_of(annotation)
    data, seen = kind.encode(value)
    assert kind.decode(data) == seen and type(kind.decode(data)) is type(seen)


def test_a_subclass_of_text_becomes_the_text_that_is_read_back() -> None:
    for text in (Shade.RED, type("Name", (str,), {})("red")):
        data, seen = ANY.encode(text)
        assert type(seen) is str and seen == "red" and data == b'"red"'


class Tagged(BaseModel):
    tags: set[str]
    more: dict[str, frozenset[tuple[int, str]]] = {}
    any: Any = None


SETS = """
import sys
from kernel.test_types import Tagged, type_of
names = [f"name {number}" for number in range(9)]
value = Tagged(tags=set(names), more={"a": frozenset((len(name), name) for name in names)}, any={"b": [set(names)]})
sys.stdout.buffer.write(type_of(Tagged).encode(value)[0] + type_of(set[str]).encode(set(names))[0])
"""


@pytest.mark.promise("RUN-01")
def test_a_set_is_written_the_same_in_every_process() -> None:
    def written(seed: str) -> bytes:
        surroundings = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.run([sys.executable, "-c", SETS], env=surroundings, capture_output=True, check=True).stdout

    first, second = written("1"), written("2")
    assert first == second and first.count(b"name 8") == 4


@given(
    st.sets(st.text(st.characters(codec="utf-8"), max_size=3)),
    st.dictionaries(st.text(max_size=2), st.frozensets(st.tuples(st.integers(), st.text(max_size=2)))),
)
def test_a_set_comes_back_as_it_was(tags: set[str], more: dict[str, Any]) -> None:
    value = Tagged(tags=tags, more=more, any=[1, {"a": "b"}])
    data, seen = type_of(Tagged).encode(value)
    assert seen == value and type_of(Tagged).encode(seen)[0] == data


def test_a_tuple_in_a_loose_value_is_seen_as_the_list_it_becomes() -> None:
    data, seen = ANY.encode((1, 2))
    assert seen == [1, 2] == ANY.decode(data)


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Any, {"a": [1, {2, 3}]}, "value['a'][1] is a set"),
        (Any, {"a": object()}, "value['a'] is a object"),
        (Any, [1.0, float("nan")], "value[1] is nan"),
        (Any, {(1, 2): 3}, "value has a key of type tuple"),
        (dict[str, Any], {"deep": {"er": lambda: 0}}, "value['deep']['er'] is a function"),
        (list[int], [1, "two"], "1: input should be a valid integer"),
        (Animal, "rex", "input should be a valid"),
        (float, float("inf"), "infinite"),
        (Any, float("-inf"), "-inf"),
        (str, "a\ud800", "value holds half a character"),
        (list[str], ["a", "\ud800"], "value[1] holds half a character"),
    ],
)
@pytest.mark.promise("FLOW-18")
def test_a_value_that_cannot_be_stored_is_refused_with_its_path(annotation: Any, value: Any, path: str) -> None:
    with pytest.raises(FlowError) as refusal:
        type_of(annotation).encode(value)
    assert refusal.value.code == "OMG-R002" and path in refusal.value.cause


def test_a_value_over_the_limit_is_refused() -> None:
    with pytest.raises(FlowError) as refusal:
        type_of(str).encode("x" * MAX_PAYLOAD)
    assert refusal.value.code == "OMG-R003"


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(FlowError) as refusal:
        ANY.encode(ring)
    assert refusal.value.code == "OMG-R002"
    assert "deeper than" in unstorable(ring)


def test_input_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(InputError) as refusal:
        type_of(Dog).read({"name": "rex", "tail": "perhaps"})
    assert refusal.value.code == "OMG-I001" and refusal.value.cause.startswith("tail:")
    assert refusal.value.details["errors"][0]["path"] == "tail"


def test_a_given_schema_is_what_is_checked() -> None:
    typed = Type(dict[str, Any], {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert typed.read({"n": 1}) == {"n": 1}
    with pytest.raises(InputError) as refusal:
        typed.read({"n": "one"})
    assert "['n']" in refusal.value.cause


@pytest.mark.parametrize("reference", ["#", "#/$defs/a", "#/nowhere", "http://127.0.0.1:9/elsewhere"])
def test_a_schema_that_leads_nowhere_fits_no_value(reference: str) -> None:
    kind = Type(Any, {"$ref": reference, "$defs": {"a": {"$ref": "#/$defs/a"}}}, "Odd")
    with pytest.raises(InputError, match="OMG-I001 the schema of the input cannot be used"):
        kind.read(1)


def test_a_recorded_value_that_no_longer_fits_is_named() -> None:
    with pytest.raises(FlowError) as refusal:
        type_of(Dog).decode(b'{"name": 1}')
    assert refusal.value.code == "OMG-R015" and "Dog" in refusal.value.cause


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | None, "int | None"),
        (list[Dog], "list[Dog]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Any, "Any"),
        (tuple[int, ...], "tuple[int, ...]"),
    ],
)
def test_types_are_shown_as_they_are_written(annotation: Any, text: str) -> None:
    assert show(annotation) == text
