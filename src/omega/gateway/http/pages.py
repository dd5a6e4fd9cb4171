"""The description of the interface for people: one page of plain HTML made of the OpenAPI document, and one of the error codes.

Nothing from elsewhere, readable without a script, without a mouse and in the dark: a page that describes the door must not need another
door. With a script each operation can be tried where it is described (`omega.gateway.http.trying`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from omega.gateway.front.core import Send
from omega.gateway.front.request import Arrival, Headers, reply
from omega.gateway.http import trying
from omega.gateway.http.trying import found
from omega.kernel.errors import CODES
from omega.wire.problem import status_of

_HTML = b"text/html; charset=utf-8"

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2130; --soft: #566075; --line: #d9dee8; --ground: #ffffff; --panel: #f5f7fa;
  --accent: #2456c7; --post: #7a3fb0; --get: #14713f; --stop: #a3261c }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf2; --soft: #a2abbd; --line: #2c3340; --ground: #14171d; --panel: #1b1f27;
  --accent: #8db1ff; --post: #cda5f3; --get: #7fd6a3; --stop: #ffa198 } }
* { box-sizing: border-box }
html { scroll-behavior: smooth; scroll-padding-top: 1rem }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto } }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink); background: var(--ground) }
.all { display: grid; grid-template-columns: 16rem minmax(0, 1fr); max-width: 78rem; margin: 0 auto }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 2rem 1rem 2rem 1.5rem; border-right: 1px solid var(--line) }
nav h2 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: 1.4rem 0 .3rem }
nav ul { list-style: none; margin: 0; padding: 0 } nav li { margin: .1rem 0 }
nav a { color: var(--ink); text-decoration: none; font-size: .92rem; display: block; padding: .12rem .4rem; border-radius: .25rem }
nav a:hover { background: var(--panel) } a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
main { padding: 2.5rem 2.5rem 6rem } h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em }
.lead { color: var(--soft); max-width: 44rem; margin: 0 0 1.5rem } main > section > h2 { font-size: 1.3rem; margin: 3rem 0 .5rem }
article { border-top: 1px solid var(--line); padding: 1.3rem 0 1rem } article h3 { font-size: 1rem; margin: 0 0 .3rem; font-weight: 600 }
article p { margin: .3rem 0 .7rem; max-width: 46rem; color: var(--soft); white-space: pre-line }
.verb { display: inline-block; min-width: 3.2rem; font: 600 .82rem/1.6 ui-monospace, "SF Mono", Menlo, monospace }
.POST { color: var(--post) } .GET { color: var(--get) }
code, pre { font: .86rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace } .path { overflow-wrap: anywhere }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
  overflow-x: auto; margin: .5rem 0 }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 .8rem; font-size: .92rem } caption { text-align: left; color: var(--soft);
  font-size: .82rem; padding: .3rem 0 }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line) }
th { font-weight: 600; white-space: nowrap } td { overflow-wrap: anywhere } .skip { position: absolute; left: -99rem }
.skip:focus { left: 1rem; top: 1rem; background: var(--ground); padding: .5rem }
@media (max-width: 52rem) { .all { grid-template-columns: minmax(0, 1fr) } nav { position: static; height: 11rem; border-right: 0;
  border-bottom: 1px solid var(--line); padding: 1rem 1.5rem } nav h2:first-child { margin-top: 0 }
  main { padding: 1.5rem } td, th { padding-right: .5rem } }
"""
_WHOLE_STYLE = _STYLE + trying.STYLE


def _headers(*scripts: str) -> Headers:
    """Headers of a page with our style, and no script but these, which may speak to this origin alone."""
    named = " ".join(f"'{trying.digest(each)}'" for each in scripts)
    runs = f"script-src {named}; connect-src 'self'; " if scripts else ""
    policy = (
        f"default-src 'none'; {runs}style-src '{trying.digest(_WHOLE_STYLE)}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    return [(b"content-security-policy", policy.encode()), (b"cache-control", b"no-cache")]


async def guide(send: Send, document: Mapping[str, Any]) -> None:
    """The page of every operation."""
    await reply(send, 200, guide_page(document).encode(), kind=_HTML, headers=_headers(trying.script()))


async def errors(send: Send, arrival: Arrival) -> None:
    """The page of every error code."""
    await reply(send, 200, errors_page().encode(), kind=_HTML, headers=_headers())


def guide_page(document: Mapping[str, Any]) -> str:
    """The HTML of an OpenAPI document of ours."""
    groups: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            groups[operation["tags"][0]].append((verb.upper(), path, operation))
    groups = {name: each for name, each in groups.items() if each}
    links = "".join(
        f"<h2>{escape(name)}</h2><ul>{''.join(_link(verb, operation) for verb, _, operation in each)}</ul>" for name, each in groups.items()
    )
    sections = "".join(
        f'<section aria-labelledby="tag-{escape(name)}"><h2 id="tag-{escape(name)}">{escape(name)}</h2>'
        f"{''.join(_article(document, *each) for each in operations)}</section>"
        for name, operations in groups.items()
    )
    base = escape(str(document["servers"][0]["url"]))
    lead = (
        f"<h1>the interface of this installation</h1><p class=lead>{escape(document['info']['summary'])}. Send a passport or an API key "
        "with every request. Errors are problem details with a code, whose turn it is, and what to do: "
        '<a href="/api/docs/errors">all codes</a>. For programs: <a href="/api/v1/openapi.json">openapi.json</a>.</p>'
        f"<pre>curl -H &quot;Authorization: Bearer $PASSPORT&quot; {base}/api/v1/me</pre>"
    )
    return _page("omega: the interface", links, lead + trying.whose() + sections, script=trying.script())


def errors_page() -> str:
    """The HTML of all error codes."""
    rows = "".join(
        f'<tr id="{code.lower()}"><th scope="row"><code>{code}</code></th><td>{escape(known.title)}</td><td>{status_of(code)}</td>'
        f"<td>{known.fault.value}</td><td>{escape(known.advice)}</td></tr>"
        for code, known in CODES.items()
    )
    letters = dict.fromkeys(code[4] for code in CODES)
    links = "".join(f'<li><a href="#omg-{letter.lower()}001">OMG-{letter}</a></li>' for letter in letters)
    table = (
        '<table><caption>every code, and the HTTP status it comes with</caption><thead><tr><th scope="col">code</th><th scope="col">what'
        '</th><th scope="col">status</th><th scope="col">whose turn</th><th scope="col">to do</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    lead = '<h1>error codes</h1><p class=lead>a code never changes its meaning. <a href="/api/docs">the interface</a></p>'
    return _page("omega: error codes", f"<h2>codes</h2><ul>{links}</ul>", lead + table)


def _page(title: str, links: str, content: str, *, script: str = "") -> str:
    runs = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="same-origin"><title>{escape(title)}</title><style>{_WHOLE_STYLE}</style></head>'
        f'<body><a class="skip" href="#content">to the content</a><div class="all"><nav aria-label="contents">{links}</nav>'
        f'<main id="content" tabindex="-1">{content}</main></div>{runs}</body></html>'
    )


def _link(verb: str, operation: Mapping[str, Any]) -> str:
    name = escape(operation["operationId"])
    return f'<li><a href="#{name}">{name}</a></li>'


def _article(document: Mapping[str, Any], verb: str, path: str, operation: Mapping[str, Any]) -> str:
    name = escape(operation["operationId"])
    about = escape(operation.get("description") or operation.get("summary", ""))
    given = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    parts = [
        f'<article id="{name}"><h3><span class="verb {verb}">{verb}</span> <code class="path">{escape(path)}</code></h3>',
        f"<p>{about}</p>",
        _table("parameters", _parameters(document, operation)),
        _table("input", _fields(document, given.get("schema", {}))),
        f"<pre>{escape(json.dumps(given['example'], indent=2, ensure_ascii=False))}</pre>" if "example" in given else "",
        _table("result", _fields(document, _result(operation))),
        trying.form(document, verb, path, operation),
        "</article>",
    ]
    return "".join(parts)


def _result(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    schema: Mapping[str, Any] = content.get("schema", {})
    return schema


def _table(title: str, rows: Iterator[tuple[str, str, str]]) -> str:
    lines = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{escape(kind)}</td><td>{escape(about)}</td></tr>'
        for name, kind, about in rows
    )
    return f"<table><caption>{title}</caption><tbody>{lines}</tbody></table>" if lines else ""


def _parameters(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for given in operation.get("parameters", ()):
        each = found(document, given)
        if each["in"] == "header" and not each.get("required"):
            continue
        needed = "required" if each.get("required") else "optional"
        yield each["name"], f"{_kind(document, each.get('schema', {}))}, {each['in']}, {needed}", each.get("description", "")


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    whole = found(document, schema)
    required = whole.get("required", ())
    for name, field in whole.get("properties", {}).items():
        shown = found(document, field)
        needed = "" if name in required else ", optional"
        yield name, f"{_kind(document, field)}{needed}", str(shown.get("description", ""))


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    whole = found(document, schema)
    if "enum" in whole:
        return " | ".join(map(str, whole["enum"]))
    if "anyOf" in whole:
        return " or ".join(_kind(document, each) for each in whole["anyOf"])
    kind = whole.get("type", "any")
    if kind == "array":
        return f"list of {_kind(document, whole.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
