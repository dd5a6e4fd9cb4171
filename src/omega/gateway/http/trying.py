"""Operations tried from the page that describes them: a form for each, and the one script that sends it.

A form is made of the description itself: a field for each parameter, and for the body a text with the example, or with a value made of the
schema. It stays hidden until the script runs, so the page reads without a script as it always did. The script is written out in the page
and named in its policy by digest, as is the style: nothing else runs there, nothing is loaded, and it speaks to this origin alone. What is
sent goes in at the door like every other request: with the browser's session, or with a key that was pasted and is kept in memory only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

MAX_DEPTH = 6
"""How deep a value that is made of a schema goes, at most: a schema may lead back to itself."""

MAX_PADDING = 64
"""Longest text, in characters, that is made up to fit a schema."""

STYLE = """
.try, .whose { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.1rem; margin: 1rem 0 .5rem }
[hidden] { display: none }
.try h4, .answer h5 { margin: 0 0 .6rem; font-size: .95rem; font-weight: 600 } .answer h5 { margin: 1rem 0 .3rem; font-size: .88rem }
.try label, .whose label { display: block; margin: 0 0 .7rem; font-size: .88rem; color: var(--soft) }
.try input, .try textarea, .whose input { display: block; width: 100%; margin-top: .25rem; padding: .45rem .6rem; border-radius: .35rem;
  border: 1px solid var(--soft); background: var(--ground); color: var(--ink); font: .86rem/1.5 ui-monospace, "SF Mono", Menlo, monospace }
.try textarea { resize: vertical; tab-size: 2 } .whose p { margin: 0 0 .7rem; color: var(--soft); font-size: .92rem; max-width: 46rem }
.try button { font: inherit; font-weight: 600; padding: .4rem 1.1rem; margin-right: .5rem; border: 1px solid var(--accent);
  border-radius: .35rem; background: var(--accent); color: var(--ground); cursor: pointer }
.try button.plain { background: transparent; color: var(--accent) } .try button:disabled { opacity: .55; cursor: default }
.answer .told { border-left: 3px solid var(--get); padding: .4rem .8rem; margin: 1rem 0 .6rem; color: var(--ink); background: var(--panel);
  overflow-wrap: anywhere; max-width: none }
.answer .told.wrong { border-color: var(--stop) } .answer pre { max-height: 26rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere }
"""


@cache
def script() -> str:
    """The script of the page."""
    return files("omega.gateway.http").joinpath("trying.js").read_text(encoding="utf-8")


def digest(text: str) -> str:
    """What a policy calls a style or a script that is written out in a page (CSP 3, 2.3.1)."""
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def whose() -> str:
    """The form above all others: as whom to send."""
    return (
        '<form class="whose" id="whose" hidden autocomplete="off"><p>Operations are tried from this page as whoever signed in with this '
        "browser, or with a key that is pasted here. It is kept in this page alone, and gone with it.</p>"
        '<label>passport or API key, instead of the browser\'s session<input id="key" type="password" autocomplete="off" '
        'spellcheck="false" maxlength="16384"></label></form>'
    )


def form(document: Mapping[str, Any], verb: str, path: str, operation: Mapping[str, Any]) -> str:
    """The form of one operation of `document`."""
    name = escape(operation["operationId"])
    fields = "".join(_field(each) for each in _parameters(document, operation))
    return (
        f'<form class="try" hidden autocomplete="off" novalidate data-verb="{verb}" data-path="{escape(path)}" aria-label="try {name}">'
        f"<h4>try it</h4>{fields}{_body(document, operation)}"
        f'<button aria-label="send {name}">send</button>'
        f'<button type="button" class="plain" hidden aria-label="stop {name}">stop</button>'
        '<div class="answer" role="status"></div></form>'
    )


def _parameters(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for given in operation.get("parameters", ()):
        each = found(document, given)
        if each["in"] != "header" or each.get("required"):
            yield each


def _field(parameter: Mapping[str, Any]) -> str:
    name, needed = escape(parameter["name"]), bool(parameter.get("required"))
    said = f"{name}, {parameter['in']}{'' if needed else ', optional'}"
    demanded = ' required aria-required="true"' if needed else ""
    return f'<label>{said}<input name="{name}" data-in="{parameter["in"]}" spellcheck="false"{demanded}></label>'


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    given = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if given is None:
        return ""
    value = given["example"] if "example" in given else sample(document, given.get("schema", {}))
    text = json.dumps(value, indent=2, ensure_ascii=False)
    rows = min(max(text.count("\n") + 1, 3), 16)
    return f'<label>body, JSON<textarea name="body" rows="{rows}" spellcheck="false">\n{escape(text)}</textarea></label>'


def sample(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value to begin with for a schema: its default or example where it has one, else the least that its type asks for."""
    whole = found(document, schema)
    known = [whole[each] for each in ("default", "const", "example") if each in whole]
    known += [whole[each][0] for each in ("examples", "enum") if whole.get(each)]
    if known:
        return known[0]
    if whole.get("anyOf"):
        return sample(document, whole["anyOf"][0], depth + 1)
    kind = whole.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return _object(document, whole, depth)
        case "array":
            return [sample(document, whole["items"], depth + 1)] if whole.get("minItems") and depth < MAX_DEPTH else []
        case "string":
            return "2030-01-01T00:00:00Z" if whole.get("format") == "date-time" else "x" * min(whole.get("minLength", 0), MAX_PADDING)
        case "integer" | "number":
            above = whole.get("exclusiveMinimum")
            return whole.get("minimum", 0) if above is None else whole.get("maximum", above + 1)
        case "boolean":
            return False
    return None


def _object(document: Mapping[str, Any], whole: Mapping[str, Any], depth: int) -> dict[str, Any]:
    fields = whole.get("properties", {})
    if depth >= MAX_DEPTH:
        return {}
    return {name: sample(document, fields[name], depth + 1) for name in whole.get("required", ()) if name in fields}


def found(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference inside the document leads to; anything else as it is."""
    reference = part.get("$ref")
    if reference is None:
        return part
    at: Any = document
    for name in reference.removeprefix("#/").split("/"):
        at = at[name]
    whole: Mapping[str, Any] = at
    return whole
