"""Types: what may be joined, and what comes back from storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

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
    assert type_of(Dog).decode(data) == dog and seen is dog


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
