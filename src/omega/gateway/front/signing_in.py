"""Signing in with a browser: by the one-time link that `omega up` prints, or by the API key of a person.

GET shows a page with one button, so that whatever looks at links before a person does (a chat, a mail scanner) does not use the code up;
POST takes the code and gives the cookie. Another link is for the owner alone: `omega sign-in` asks for it with a passport. Signing out is a
page with a button too: what a foreign page could bring about is not done.

Whatever way somebody has proved who they are, the host begins a session (`Sessions.begin`), and `welcome` answers the browser with its
cookie and sends it on to where it wanted to go: a page of this installation, and only one of those that `onward_of` knows.

    GET  /sign-in?code=CODE    the page
    POST /sign-in              the form of the page: a cookie, and on to where the browser came from
    POST /sign-in/link         with the owner's passport: the path of a new link
    GET  /sign-out             the page
    POST /sign-out             the form of the page: the session and the cookie end
"""

from __future__ import annotations

import re
from html import escape
from typing import Final
from urllib.parse import quote

from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, Headers, arrival_of, query_pairs, read_body, reply, reply_json
from omega.kernel.errors import Denied, InputError
from omega.wire.problem import status_of

PREFIX, LINK, OUT = "/sign-in", "/sign-in/link", "/sign-out"
COOKIE = "omega_session"
"""The cookie of a browser that signed in; `omega.host.visitors` reads it."""

HOME = "/api/docs"
"""Where somebody who signed in comes to."""

MAX_FORM = 16_384
OTHER_WAY: Final = "OMG-T013"
"""The one refusal that is told as what it is: whoever sees it has shown a key that counts."""

_AUTHORIZE = r"/oauth/authorize\?[A-Za-z0-9\-._~%&=+:/!$'()*,;@?\[\]]{1,8000}"
_APPROVALS = r"/approvals(\?[A-Za-z0-9\-._~%&=+:/]{1,2000})?"
ONWARD: Final = re.compile(rf"{_AUTHORIZE}|/connections|/passkeys|{_APPROVALS}")
"""Pages that a browser may be sent on to after it signed in."""

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
button:focus-visible, input:focus-visible, a:focus-visible {{ outline: 3px solid var(--ink); outline-offset: 2px }}
a {{ color: var(--accent) }} label {{ display: block; color: var(--ink); margin: 0 0 1rem }}
label input {{ display: block; box-sizing: border-box; width: 100%; margin-top: .25rem; padding: .5rem; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--soft); border-radius: .4rem }}
</style></head>
<body><main><h1>{title}</h1>{rest}</main></body></html>
"""
_FORM = """<p>this browser will act as the owner of this installation for twelve hours</p>
<form method="post" action="/sign-in"><input type="hidden" name="code" value="{code}"><button>sign in</button></form>"""
_LEAVE = """<p>this browser will no longer act as the owner of this installation</p>
<form method="post" action="/sign-out"><button>sign out</button></form>"""
_SHOWN = """<form method="post" action="/sign-in">
<label>sign-in link, or API key<input name="shown" type="password" autocomplete="off" spellcheck="false" required></label>
<label>code of your second factor, where you have one<input name="factor" inputmode="numeric" autocomplete="one-time-code"></label>
<input type="hidden" name="onward" value="{onward}"><button>sign in</button></form>
<p><a href="/sso?onward={query}">sign in with your organisation</a></p>"""
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
                await ask(send)
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
    """The cookie for a code or a key; for one that is good no more, a page that says so."""
    form = dict(query_pairs(await read_body(receive, arrival, most=MAX_FORM)))
    shown = form.get("shown", "").strip()
    code = form.get("code", "") or shown.rpartition("code=")[2]
    try:
        if shown.startswith("omk_"):
            cookie = core.sign_in_by_key(shown, form.get("factor", "").strip(), address=arrival.address)
        else:
            cookie = core.sign_in(code, address=arrival.address)
    except Denied as error:
        if error.code == "OMG-G007":
            raise
        if "shown" in form:
            title = f"{error.code}: {error.advice}" if error.code == OTHER_WAY else "this is not accepted"
            await ask(send, onward_of(form.get("onward", "")), title=title, status=status_of(error.code))
        else:
            await _show(send, "this link is used up or too old", _ANOTHER, status=status_of(error.code))
        return
    await welcome(send, arrival, cookie, form.get("onward", ""))


async def welcome(send: Send, arrival: Arrival, cookie: str, onward: str = "") -> None:
    """Answer a browser whose session has begun: its cookie, and on to `onward` where that is a page of this installation (else `HOME`).
    Every way of signing in ends here."""
    where = onward_of(onward) or HOME
    await reply(send, 303, headers=[(b"location", where.encode()), _cookie(arrival, cookie, MAX_AGE_S), _FRESH])


async def arrived(send: Send, arrival: Arrival, cookie: str, onward: str = "", *, headers: Headers | None = None) -> None:
    """The same for a browser that comes back from another site: the session's cookie is not sent with what another site led to, so a page
    of our own goes on by itself."""
    where = escape(onward_of(onward) or HOME, quote=True)
    rest = f'<meta http-equiv="refresh" content="0;url={where}"><p><a href="{where}">go on</a></p>'
    await _show(send, "signed in", rest, headers=[_cookie(arrival, cookie, MAX_AGE_S), *(headers or ())])


async def show(
    send: Send, title: str, rest: str, *, status: int = 200, headers: Headers | None = None, policy: Headers | None = None
) -> None:
    """A page in the manner of these; `policy` stands in for what it may load and send."""
    lines = [*(policy or [_POLICY]), _FRESH, *(headers or ())]
    await reply(send, status, _PAGE.format(title=title, rest=rest).encode(), kind=_HTML, headers=lines)


async def ask(send: Send, onward: str = "", *, title: str = "sign in by a link", status: int = 200) -> None:
    """The page on which somebody who has not signed in does so; afterwards the browser goes on to `onward`."""
    where = onward_of(onward)
    await _show(send, title, _ANOTHER + _SHOWN.format(onward=escape(where, quote=True), query=quote(where, safe="")), status=status)


def onward_of(text: str) -> str:
    """`text`, where it is a page of this installation that a browser may be sent on to; else nothing."""
    return text if ONWARD.fullmatch(text) else ""


def _cookie(arrival: Arrival, value: str, age_s: int) -> tuple[bytes, bytes]:
    """The header that sets the cookie; with an age of nothing, the one that takes it away."""
    secure = "; Secure" if arrival.base.startswith("https") else ""
    return b"set-cookie", f"{COOKIE}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}".encode()


async def _show(send: Send, title: str, rest: str, *, status: int = 200, headers: Headers | None = None) -> None:
    await show(send, title, rest, status=status, headers=headers)


_FRESH = (b"cache-control", b"no-store")
