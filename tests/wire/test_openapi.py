"""OpenAPI documents as values: reading any of them ends soon, and whatever the arguments are, the request stays in its place."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.wire.openapi import Interface, Operation, Parameter, Pins, prepare, read_interface, result_of
from omega.wire.openapi.operations import MAX_OPERATIONS, MAX_SCHEMA
from servers.shop_api import document

texts = st.text(max_size=30)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), texts)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)), max_leaves=8
)
keywords = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "$ref",
        "allOf",
        "nullable",
        "readOnly",
        "enum",
        "pattern",
        "exclusiveMinimum",
        "minimum",
        "#/components/schemas/A",
        "#/paths",
        "object",
        "string",
        "schema",
        "in",
        "name",
        "query",
        "path",
        "content",
        "application/json",
    ]
)
odd = st.recursive(
    st.one_of(scalars, keywords),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(keywords, texts), inner, max_size=4)),
    max_leaves=20,
)


def one(path: str = "/a", method: str = "get", **operation: Any) -> Interface:
    return read_interface({"openapi": "3.1.0", "paths": {path: {method: {"responses": {}, **operation}}}})


def body_of(schema: Any, **more: Any) -> Interface:
    content = {"application/json": {"schema": schema}}
    return read_interface({"openapi": "3.1.0", "paths": {"/a": {"post": {"requestBody": {"content": content}}}}, **more})


@pytest.mark.promise("TOOL-34")
@settings(max_examples=60, deadline=None)
@given(operation=odd, components=odd, version=st.sampled_from(["3.0.3", "3.1.0"]))
def test_any_document_is_read_or_refused(operation: Any, components: Any, version: str) -> None:
    try:
        found = read_interface(
            {
                "openapi": version,
                "paths": {
                    "/a/{id}": {"get": operation, "post": {"requestBody": operation, "responses": operation, "parameters": [operation]}}
                },
                "components": {"schemas": {"A": components}, "securitySchemes": components},
            }
        )
    except InputError:
        return
    for each in found.operations:
        assert Operation.from_json(json.loads(json.dumps(each.to_json()))) == each


@pytest.mark.promise("TOOL-34")
def test_documents_are_bounded() -> None:
    began = time.perf_counter()
    deep: Any = {"type": "string"}
    for _ in range(500):
        deep = {"type": "array", "items": deep}
    assert body_of(deep).left_out
    doubling = {f"S{n}": {"allOf": [{"$ref": f"#/components/schemas/S{n + 1}"}] * 2} for n in range(60)} | {"S60": {"type": "string"}}
    assert body_of({"$ref": "#/components/schemas/S0"}, components={"schemas": doubling}).operations, "references are not written out"
    loop = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    body_of({"$ref": "#/components/schemas/A"}, components={"schemas": loop})
    tree = {"Node": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}}
    assert body_of({"$ref": "#/components/schemas/Node"}, components={"schemas": tree}).operations
    assert body_of({"type": "string", "description": "x" * (MAX_SCHEMA + 1)}).left_out
    assert body_of({"$ref": "https://elsewhere.example/schema.json"}).left_out
    assert body_of({"$ref": "#/nowhere"}).left_out
    many = {f"/p{n}": {"get": {}} for n in range(MAX_OPERATIONS + 1)}
    with pytest.raises(InputError):
        read_interface({"openapi": "3.0.0", "paths": many})
    assert time.perf_counter() - began < 20, "every one of these ends soon"


@pytest.mark.promise("TOOL-32")
@settings(max_examples=60, deadline=None)
@given(value=values, other=texts)
def test_arguments_never_lead_elsewhere(value: Any, other: str) -> None:
    operation = Operation(
        name="x",
        method="get",
        path="/v1/{a}/{b}-{c}/end",
        title="",
        description="",
        parameters=(
            Parameter("a", "a", "path", "simple", explode=False),
            Parameter("b", "b", "path", "simple", explode=True),
            Parameter("c", "c", "path", "simple", explode=False),
            Parameter("q", "q", "query", "form", explode=True),
            Parameter("d", "d", "query", "deepObject", explode=True),
            Parameter("h", "h", "header", "simple", explode=False),
            Parameter("k", "k", "cookie", "form", explode=False),
        ),
        media="",
        input_schema={},
        output_schema=None,
        wrapped=False,
    )
    arguments = {"a": value, "b": other, "c": value, "q": value, "d": value, "h": other, "k": value}
    try:
        made = prepare(operation, "https://api.example/base", arguments, {"key": other})
    except InputError:
        return
    parts = urlsplit(made.url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example", "")
    steps = parts.path.split("/")
    assert len(steps) == 6
    assert steps[:3] + steps[5:] == ["", "base", "v1", "end"]
    assert not {"", ".", ".."} & {unquote(step) for step in steps[1:] if "/" not in unquote(step)}
    assert all(text.isprintable() and text.isascii() for pair in made.headers.items() for text in pair)
    assert parts.query.isascii()


PINNED_API = {
    "parameters": [
        {"in": "query", "name": "tenant", "required": True, "schema": {"type": "string"}},
        {"in": "query", "name": "filter", "schema": {"type": "object"}},
        {"in": "query", "name": "Tenant[]", "schema": {"type": "string"}},
        {"in": "header", "name": "X-Tenant", "required": True, "schema": {"type": "string"}},
        {"in": "header", "name": "x_tenant", "schema": {"type": "string"}},
        {"in": "cookie", "name": "session", "schema": {"type": "string"}},
        {"in": "cookie", "name": "more", "schema": {"type": "object"}},
    ]
}
"""An interface that would take a pinned name as an argument, and names that servers read as the same."""


@pytest.mark.promise("TOOL-42")
@pytest.mark.parametrize(
    "arguments",
    [
        {"tenant": "victim"},
        {"Tenant[]": "victim"},
        {"filter": {"key": "mine"}},
        {"filter": {"KEY": "mine"}},
        {"filter": {"tenant[x]": "victim"}},
        {"filter": {" tenant": "victim"}},
        {"X-Tenant": "victim"},
        {"x_tenant": "victim"},
        {"session": "mine"},
        {"more": {"session": "mine"}},
    ],
)
def test_no_argument_sets_what_is_pinned(arguments: dict[str, Any]) -> None:
    operation = one(**PINNED_API).operations[0]
    with pytest.raises(InputError) as refused:
        prepare(operation, "https://a.example", arguments, {"tenant": "acme", "key": "for-the-operator"}, ["x-tenant", "Cookie"])
    assert "pinned" in refused.value.cause
    assert "for-the-operator" not in str(refused.value)
    assert prepare(operation, "https://a.example", arguments).url, "nothing is pinned, nothing is refused"


@pytest.mark.promise("TOOL-42")
def test_what_is_pinned_is_no_argument() -> None:
    interface = {"openapi": "3.1.0", "paths": {"/a": {"get": {"responses": {}, **PINNED_API}}}}
    found = read_interface(interface, pins=Pins.of(["?TENANT", "x-tenant", "cookie"]))
    assert set(found.operations[0].input_schema["properties"]) == {"filter"}
    assert "required" not in found.operations[0].input_schema, "what is pinned is needed of nobody"
    made = prepare(found.operations[0], "https://a.example", {"filter": {"a": 1}}, {"TENANT": "acme"}, ["accept"])
    assert urlsplit(made.url).query == "a=1&TENANT=acme"
    assert made.headers == {}, "a header that is pinned is sent once"


@pytest.mark.promise("TOOL-30")
def test_styles_of_parameters() -> None:
    wanted = [
        ({"style": "form", "explode": False}, ["a", "b c"], "x=a,b%20c"),
        ({"style": "form"}, ["a", "b"], "x=a&x=b"),
        ({"style": "spaceDelimited", "explode": False}, ["a", "b"], "x=a%20b"),
        ({"style": "pipeDelimited", "explode": False}, ["a", "b"], "x=a%7Cb"),
        ({"style": "deepObject"}, {"a": 1, "b": True}, "x%5Ba%5D=1&x%5Bb%5D=true"),
        ({"style": "form"}, {"a": 1}, "a=1"),
        ({}, False, "x=false"),
        ({}, "a&b=c", "x=a%26b%3Dc"),
    ]
    for given_, value, query in wanted:
        operation = one(parameters=[{"name": "x", "in": "query", "schema": {}, **given_}]).operations[0]
        assert urlsplit(prepare(operation, "https://a.example", {"x": value}).url).query == query
    as_json = one(parameters=[{"name": "x", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}}]).operations[0]
    assert urlsplit(prepare(as_json, "https://a.example", {"x": {"a": [1]}}).url).query == "x=%7B%22a%22%3A%5B1%5D%7D"
    form = {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}}}
    posted = prepare(one(method="post", **form).operations[0], "https://a.example", {"body": {"a": ["1", "2"], "b": "x y"}})
    assert (posted.body, posted.headers["Content-Type"]) == (b"a=1&a=2&b=x+y", "application/x-www-form-urlencoded")


@pytest.mark.promise("TOOL-30")
def test_names_are_plain_and_never_two_of_a_kind() -> None:
    paths = {
        "/a": {"get": {"operationId": "do it!"}, "put": {"operationId": "do it?"}},
        "/b/{id}": {"get": {"parameters": [{"name": "id", "in": "path", "required": True}]}, "head": {}},
        "/c": {"get": {"operationId": "x" * 200}},
    }
    found = read_interface({"openapi": "3.1.0", "paths": paths})
    names = [each.name for each in found.operations]
    assert len(names) == len(set(names)) == 4
    assert "get_b_id" in names
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
    assert found.left_out == (("HEAD /b/{id}", "its path and its parameters do not fit: id"),)


@pytest.mark.promise("TOOL-30")
def test_credentials_and_connection_headers_are_no_arguments() -> None:
    headers = ["Authorization", "Host", "Content-Length", "Transfer-Encoding", "Cookie", "X-Token", "X-Plain"]
    listed = [{"name": name, "in": "header", "schema": {"type": "string"}} for name in headers]
    found = read_interface(
        {
            "openapi": "3.1.0",
            "paths": {"/a": {"get": {"parameters": [*listed, {"name": "appid", "in": "query", "required": True, "schema": {}}]}}},
            "components": {
                "securitySchemes": {
                    "a": {"type": "apiKey", "in": "query", "name": "appid"},
                    "b": {"type": "apiKey", "in": "header", "name": "x-token"},
                    "c": {"type": "http", "scheme": "bearer"},
                }
            },
        }
    )
    assert set(found.operations[0].input_schema["properties"]) == {"X-Plain"}
    assert found.credentials == ("?appid", "x-token", "Authorization")


@pytest.mark.promise("TOOL-32")
def test_names_that_would_break_a_request_are_left_out() -> None:
    for place, name in (("header", "X\r\nEvil"), ("header", ""), ("cookie", "a=b;c"), ("body", "x")):
        assert one(parameters=[{"name": name, "in": place, "schema": {}}]).left_out, (place, name)
    for path in ("no-slash", "/a?b=c", "/a#b", "/a\nb", "/ä", "/{a", "/{x}"):
        assert one(path).left_out or path == "/{a", path
    assert one(method="post", requestBody={"required": True, "content": {"evil\r\nx/+json": {}}}).left_out


def test_what_is_no_such_document_is_refused() -> None:
    for given_ in (None, [], {"swagger": "2.0"}, {"openapi": "4.0.0"}, {"openapi": "3.1.0", "paths": []}):
        with pytest.raises(InputError):
            read_interface(given_)


def test_answers_by_status_and_kind() -> None:
    operation = one().operations[0]
    assert result_of(operation, 200, "application/json; charset=utf-8", b"[1]")["structuredContent"] == {"result": [1]}
    assert result_of(operation, 200, "application/problem+json", b'{"a":1}')["structuredContent"] == {"a": 1}
    assert result_of(operation, 200, "text/plain", b"hello") == {"content": [{"type": "text", "text": "hello"}]}
    assert result_of(operation, 200, "image/png", b"\x89PNG")["content"][0]["resource"]["mimeType"] == "image/png"
    json_kind = "application/json"
    for status, kind, body in ((500, "text/plain", b"no"), (302, "", b""), (200, json_kind, b"{"), (200, json_kind, b'{"a":1,"a":2}')):
        assert result_of(operation, status, kind, body)["isError"] is True


def test_the_shop_is_read_whole() -> None:
    assert len(read_interface(document()).operations) == 9
