"""Signing in with a browser: the one-time link that `omega up` prints leads here.

GET shows a page with one button, so that whatever looks at links before a person does (a chat, a mail scanner) does not use the code up;
POST takes the code and gives the cookie. Another link is for the owner alone: `omega sign-in` asks for it with a passport. Signing out is a
page with a button too: what a foreign page could bring about is not done.

    GET  /sign-in?code=CODE    the page
    POST /sign-in              the form of the page: a cookie, and on to the description of the interface
    POST /sign-in/link         with the owner's passport: the path of a new link
    GET  /sign-out             the page
    POST /sign-out             the form of the page: the session and the cookie end
"""

from __future__ import annotations

from html import escape

from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, Headers, arrival_of, query_pairs, read_body, reply, reply_json
from omega.kernel.errors import Denied, InputError
from omega.wire.problem import status_of

PREFIX, LINK, OUT = "/sign-in", "/sign-in/link", "/sign-out"
COOKIE = "omega_session"
"""The cookie of a browser that signed in; `omega.host.visitors` reads it."""

HOME = "/api/docs"
"""Where somebody who signed in comes to."""

MAX_FORM = 4_096
MAX_AGE_S = 12 * 3600
"""How long a browser keeps the cookie, in seconds."""

_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
_HTML = b"text/html; charset=utf-8"

# Browsers send `Origin: null` with a form where the referrer policy is `no-referrer`, which the door sets and refuses: this page says
# otherwise about itself. What is sent stays at this origin.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="same-origin">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d2330; --soft: #5a6376; --ground: #f7f8fa; --accent: #2456c7 }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e9ecf3; --soft: #a3acbf; --ground: #14171d; --accent: #8db1ff }} }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--ground) }}
main {{ max-width: 24rem; padding: 2rem }}
h1 {{ font-size: 1.5rem; font-weight: 600; margin: 0 0 .5rem }} p {{ color: var(--soft); margin: 0 0 1.5rem }}
code {{ color: var(--ink); font: .95rem ui-monospace, monospace }}
button {{ font: inherit; font-weight: 600; padding: .6rem 1.2rem; border: 0; border-radius: .4rem; cursor: pointer;
  color: var(--ground); background: var(--accent) }}
button:focus-visible {{ outline: 3px solid var(--ink); outline-offset: 2px }}
</style></head>
<body><main><h1>{title}</h1>{rest}</main></body></html>
"""
_FORM = """<p>this browser will act as the owner of this installation for twelve hours</p>
<form method="post" action="/sign-in"><input type="hidden" name="code" value="{code}"><button>sign in</button></form>"""
_LEAVE = """<p>this browser will no longer act as the owner of this installation</p>
<form method="post" action="/sign-out"><button>sign out</button></form>"""
_ANOTHER = """<p>each link is good once, for ten minutes. On the machine where this installation runs, <code>omega sign-in</code> gives
another</p>"""


def entrances(core: Core) -> list[Mounted]:
    """The pages for signing in and out, and the first page of the installation."""

    async def sign_in(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.path == LINK and arrival.method == "POST":
            visitor = core.visitor(arrival.headers, method="POST", url=arrival.url, address=arrival.address, peer=arrival.peer)
            await reply_json(send, {"path": f"{PREFIX}?code={core.invite(visitor)}"}, headers=[_FRESH])
            return
        if arrival.path != PREFIX:
            raise InputError("OMG-G002", "there is nothing at this address")
        if arrival.method == "GET":
            code = arrival.parameters(("code",)).get("code", "")
            if code:
                await _show(send, "sign in to omega", _FORM.format(code=escape(code, quote=True)))
            else:
                await _show(send, "sign in by a link", _ANOTHER)
        elif arrival.method == "POST":
            await _redeem(core, arrival, receive, send)
        else:
            raise InputError("OMG-G003", "this page is shown with GET and answered with POST", details={"allow": ["GET", "POST"]})

    async def home(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if arrival_of(scope).path != "/":
            raise InputError("OMG-G002", "there is nothing at this address")
        await reply(send, 302, headers=[(b"location", HOME.encode())])

    return [Mounted(PREFIX, sign_in), Mounted(OUT, _sign_out(core)), Mounted("/", home)]


def _sign_out(core: Core) -> App:
    """The page by which a browser signs out."""

    async def sign_out(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.path != OUT:
            raise InputError("OMG-G002", "there is nothing at this address")
        if arrival.method == "GET":
            await _show(send, "sign out of omega", _LEAVE)
        elif arrival.method == "POST":
            core.sign_out(arrival.headers, method="POST", url=arrival.url)
            await _show(send, "signed out", _ANOTHER, headers=[_cookie(arrival, "", 0)])
        else:
            raise InputError("OMG-G003", "this page is shown with GET and answered with POST", details={"allow": ["GET", "POST"]})

    return sign_out


async def _redeem(core: Core, arrival: Arrival, receive: Receive, send: Send) -> None:
    """The cookie for a code; for one that is good no more, a page that says so."""
    form = dict(query_pairs(await read_body(receive, arrival, most=MAX_FORM)))
    try:
        cookie = core.sign_in(form.get("code", ""))
    except Denied as error:
        await _show(send, "this link is used up or too old", _ANOTHER, status=status_of(error.code))
        return
    await reply(send, 303, headers=[(b"location", HOME.encode()), _cookie(arrival, cookie, MAX_AGE_S), _FRESH])


def _cookie(arrival: Arrival, value: str, age_s: int) -> tuple[bytes, bytes]:
    """The header that sets the cookie; with an age of nothing, the one that takes it away."""
    secure = "; Secure" if arrival.base.startswith("https") else ""
    return b"set-cookie", f"{COOKIE}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}".encode()


async def _show(send: Send, title: str, rest: str, *, status: int = 200, headers: Headers | None = None) -> None:
    more = headers or []
    await reply(send, status, _PAGE.format(title=title, rest=rest).encode(), kind=_HTML, headers=[_POLICY, _FRESH, *more])


_FRESH = (b"cache-control", b"no-store")
