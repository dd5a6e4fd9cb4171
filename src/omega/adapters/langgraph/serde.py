"""How user values become bytes and come back: LangGraph's own MessagePack form, with a list of the types that may be rebuilt.

LangGraph's serialiser names a Python type in the data and imports it when reading. Here only listed types are: those that LangGraph calls
safe (plain data, dates, messages, its own control types), and those that the application lists. A value of any other type is refused when
it is written, where somebody can still do something about it, not turned into a dict or None when it is read. Nothing is ever pickled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)

from omega.kernel.errors import FlowError, IntegrityError

FORMS = frozenset({"null", "bytes", "bytearray", "msgpack"})
"""The forms that are written and read. `json` and `pickle`, which older savers wrote, are not."""

_NAMED = frozenset(
    {
        EXT_CONSTRUCTOR_SINGLE_ARG,
        EXT_CONSTRUCTOR_POS_ARGS,
        EXT_CONSTRUCTOR_KW_ARGS,
        EXT_METHOD_SINGLE_ARG,
        EXT_PYDANTIC_V1,
        EXT_PYDANTIC_V2,
    }
)
"""Extensions that begin with the module and the name of a type."""


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serialiser, held to a list of types."""

    def __init__(self, allow: Iterable[type] = ()) -> None:
        names = {(each.__module__, each.__qualname__) for each in allow}
        super().__init__(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=tuple(sorted(names)) or None)
        self._names: frozenset[tuple[str, ...]] = SAFE_MSGPACK_TYPES | names

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> StrictSerializer:
        """This serialiser: what a graph's schema mentions is not thereby allowed."""
        return self

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The form and the bytes of a value. Raises FlowError (OMG-R002) naming the type that may not be rebuilt, or has no form."""
        try:
            form, plain = super().dumps_typed(obj)
        except (TypeError, ValueError) as error:  # ormsgpack's own error is a TypeError
            raise FlowError("OMG-R002", f"a value cannot be stored: {str(error)[:200]}") from error
        if form == "msgpack":
            self._check(plain)
        return form, plain

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value again. Raises IntegrityError (OMG-S005) for a form that is not written here, or bytes that do not parse."""
        if data[0] not in FORMS:
            raise IntegrityError("OMG-S005", f"a value of form {data[0][:20]!r} is not read here")
        try:
            return super().loads_typed(data)
        except ormsgpack.MsgpackDecodeError as error:
            raise IntegrityError("OMG-S005", "a value does not parse") from error

    def _check(self, plain: bytes) -> None:
        """Look at every type that the bytes name, however deep."""
        named: list[tuple[str, ...]] = []

        def look(code: int, data: bytes) -> int:
            inside = ormsgpack.unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
            if code == EXT_METHOD_SINGLE_ARG:
                named.append((*map(str, inside[:2]), str(inside[3])))
            elif code not in (EXT_NUMPY_ARRAY, EXT_DELTA_SNAPSHOT):
                named.append(tuple(map(str, inside[:2])) if code in _NAMED else ("extension", str(code)))
            return 0  # may stand as a key

        ormsgpack.unpackb(plain, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
        for each in named:
            if each not in self._names and each not in SAFE_MSGPACK_METHODS:
                raise FlowError(
                    "OMG-R002",
                    f"a {'.'.join(each)} may not be rebuilt from stored data",
                    advice="pass the type in allow=[...], or keep plain data in the state",
                    details={"module": each[0], "name": each[1]},
                )
