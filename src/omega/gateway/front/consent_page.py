"""The pages on which somebody is asked whether a client may act for them, and sees what they have allowed.

Plain HTML: no script, nothing from elsewhere, never in a frame. What comes from a client (its name) is shown as text, beside what is
certain of it: where it will be answered, and which host vouches for the name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from omega.gateway.front.core import Send
from omega.gateway.front.desk import Consent
from omega.gateway.front.request import Headers, reply
from omega.kernel.errors import OmegaError
from omega.wire.oauth import origin_of

_HTML: Final = b"text/html; charset=utf-8"
_FRESH: Final = (b"cache-control", b"no-store")
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="same-origin">{head}
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d2330; --soft: #5a6376; --ground: #f7f8fa; --accent: #2456c7; --line: #d5d9e2;
  --warn: #8a4b00 }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e9ecf3; --soft: #a3acbf; --ground: #14171d; --accent: #8db1ff; --line: #333a48;
  --warn: #ffc97a }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--ground) }}
main {{ width: 100%; max-width: 34rem; padding: 2rem 1.25rem }}
h1 {{ font-size: 1.4rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere }} p {{ color: var(--soft); margin: 0 0 1.25rem }}
dl {{ margin: 0 0 1.25rem; border-top: 1px solid var(--line) }}
dl > div {{ display: grid; grid-template-columns: 9rem 1fr; gap: .25rem 1rem; padding: .6rem 0; border-bottom: 1px solid var(--line) }}
dt {{ color: var(--soft) }} dd {{ margin: 0; overflow-wrap: anywhere }} ul {{ margin: 0; padding: 0; list-style: none }}
li + li {{ margin-top: .25rem }} small {{ color: var(--soft); font-size: .875rem; display: block }} .warn {{ color: var(--warn) }}
code {{ font: .9rem ui-monospace, monospace; overflow-wrap: anywhere }}
form.pair {{ display: flex; flex-wrap: wrap; gap: .75rem }}
button {{ font: inherit; font-weight: 600; flex: 1 1 9rem; padding: .65rem 1.2rem; border-radius: .4rem; cursor: pointer; color: var(--ink);
  background: transparent; border: 2px solid var(--accent) }}
button:focus-visible, a:focus-visible {{ outline: 3px solid var(--ink); outline-offset: 2px }} a {{ color: var(--accent) }}
section {{ border-top: 1px solid var(--line); padding: 1rem 0 }}
section h2 {{ font-size: 1rem; margin: 0 0 .25rem; overflow-wrap: anywhere }}
section p {{ margin: 0 0 .75rem }}
@media (max-width: 30rem) {{ dl > div {{ grid-template-columns: 1fr }} }}
</style></head>
<body><main><h1>{title}</h1>{rest}</main></body></html>
"""
_ASK: Final = """<p>{lead}</p>
<dl><div><dt>who asks</dt><dd>{name}<small class="{mark}">{vouched}</small></dd></div>
<div><dt>answered at</dt><dd><code>{answered}</code></dd></div>
<div><dt>acts for</dt><dd>{person}<small>tenant {tenant}</small></dd></div>
<div><dt>at</dt><dd><code>{resource}</code></dd></div>
<div><dt>may</dt><dd><ul>{rights}</ul><small>as far as you may yourself, and as policies let an agent. Ends after 30 days, or when you
end it under <a href="/connections">connections</a></small></dd></div></dl>
<form class="pair" method="post" action="/oauth/authorize"><input type="hidden" name="ticket" value="{ticket}">
<button name="decision" value="deny">deny</button><button name="decision" value="allow">allow</button></form>"""
_ONE: Final = """<section><h2>{name}</h2><p><small>{vouched}</small><small>answered at <code>{answered}</code>, at
<code>{resource}</code></small>
<small>{scopes}</small><small>allowed {made}, ends {ends}</small></p>
<form method="post" action="/connections"><input type="hidden" name="grant" value="{grant}">
<button aria-label="end what {name} may do">end</button></form></section>"""


async def show(send: Send, consent: Consent) -> None:
    """The question. Answering is as easy either way, and neither is chosen already."""
    asking, client = consent.asking, consent.asking.client
    name = client.name or "a client without a name"
    before = "you have allowed this before. " if consent.before else ""
    rest = _ASK.format(
        lead=escape(f"{before}If you did not just start this yourself, deny it."),
        name=escape(name),
        mark="" if client.voucher else "warn",
        vouched=escape(_vouched(client.voucher)),
        answered=escape(origin_of(asking.redirect)),
        person=escape(consent.person),
        tenant=escape(consent.tenant),
        resource=escape(asking.resource),
        rights="".join(f"<li>{escape(meaning)} <small><code>{escape(word)}</code></small></li>" for word, meaning in consent.rights),
        ticket=escape(consent.ticket, quote=True),
    )
    await _send(send, f"may {name} act for you?", rest, forms=f"'self' {_source(asking.redirect)}")


async def listing(send: Send, person: str, grants: Sequence[Mapping[str, Any]]) -> None:
    """What somebody has allowed."""
    parts = [
        _ONE.format(
            name=escape(str(each["client_name"]) or "a client without a name", quote=True),
            vouched=escape(_vouched(str(each["vouched_by"]))),
            answered=escape(origin_of(str(each["answers_to"]))),
            resource=escape(str(each["resource"])),
            scopes=escape(", ".join(each["scopes"])),
            made=_day(each["made_s"]),
            ends=_day(each["expires_s"]),
            grant=escape(str(each["grant"]), quote=True),
        )
        for each in grants
    ]
    lead = f"clients that act for {person}" if parts else f"no client acts for {person}"
    await _send(send, "connections", f"<p>{escape(lead)}</p>{''.join(parts)}")


async def fault(send: Send, error: OmegaError, status: int) -> None:
    """What is wrong with a request that nobody can be sent back with."""
    rest = f"<p>{escape(error.cause)}</p><p>{escape(error.advice)}</p><p><code>{escape(error.code)}</code></p>"
    await _send(send, "this request is not accepted", rest, status=status)


async def come_again(send: Send, here: str) -> None:
    """Have a browser that a foreign page sent ask again, from a page of this installation."""
    rest = f'<p><a href="{escape(here, quote=True)}">go on</a></p>'
    await _send(send, "one moment", rest, head=f'<meta http-equiv="refresh" content="0;url={escape(here, quote=True)}">')


async def onward(send: Send, where: str) -> None:
    """Send a browser on to a client that was allowed before."""
    rest = f'<p>you have allowed this before: <a href="{escape(where, quote=True)}">go on</a></p>'
    await _send(send, "one moment", rest, head=f'<meta http-equiv="refresh" content="0;url={escape(where, quote=True)}">')


def _vouched(voucher: str) -> str:
    return f"{voucher} vouches for this name" if voucher else "nobody vouches for this name: anybody can register under any name"


def _source(redirect: str) -> str:
    """The answer's address as a policy of a page names it, which has no word for an IPv6 address (CSP 3, 2.3.1): its scheme then."""
    origin = origin_of(redirect)
    return f"{origin.partition(':')[0]}:" if "[" in origin else origin


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


async def _send(send: Send, title: str, rest: str, *, status: int = 200, head: str = "", forms: str = "'self'") -> None:
    body = _PAGE.format(title=escape(title), rest=rest, head=head).encode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
    headers: Headers = [(b"content-security-policy", policy.encode("latin-1", "replace")), _FRESH]
    await reply(send, status, body, kind=_HTML, headers=headers)
