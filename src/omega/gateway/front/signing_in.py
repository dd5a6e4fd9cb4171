"""Signing in with a browser: the one-time link that `omega up` prints leads here.

GET shows a page with one button, so that whatever looks at links before a person does (a chat, a mail scanner) does not use the code up;
POST takes the code and gives the cookie.
"""

from __future__ import annotations

from html import escape

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Headers, arrival_of, query_pairs, read_body, reply
from omega.kernel.errors import InputError

PREFIX = "/sign-in"
COOKIE = "omega_session"
"""The cookie of a browser that signed in; `omega.host.visitors` reads it."""

HOME = "/api/docs"
"""Where somebody who signed in comes to."""

MAX_FORM = 4_096
MAX_AGE_S = 12 * 3600
"""How long a browser keeps the cookie, in seconds."""

_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sign in to omega</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d2330; --soft: #5a6376; --ground: #f7f8fa; --accent: #2456c7 }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e9ecf3; --soft: #a3acbf; --ground: #14171d; --accent: #8db1ff }} }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--ground) }}
main {{ max-width: 24rem; padding: 2rem }}
h1 {{ font-size: 1.5rem; font-weight: 600; margin: 0 0 .5rem }} p {{ color: var(--soft); margin: 0 0 1.5rem }}
button {{ font: inherit; font-weight: 600; padding: .6rem 1.2rem; border: 0; border-radius: .4rem; cursor: pointer;
  color: var(--ground); background: var(--accent) }}
button:focus-visible {{ outline: 3px solid var(--ink); outline-offset: 2px }}
</style></head>
<body><main><h1>sign in to omega</h1><p>this browser will act as the owner of this installation for twelve hours</p>
<form method="post" action="/sign-in"><input type="hidden" name="code" value="{code}"><button>sign in</button></form>
</main></body></html>
"""


def entrances(core: Core) -> list[Mounted]:
    """The sign-in page, and the first page of the installation."""

    async def sign_in(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.path != PREFIX:
            raise InputError("OMG-G002", "there is nothing at this address")
        if arrival.method == "GET":
            page = _PAGE.format(code=escape(arrival.parameters(("code",)).get("code", ""), quote=True))
            await reply(send, 200, page.encode(), kind=b"text/html; charset=utf-8", headers=[_POLICY, _FRESH])
        elif arrival.method == "POST":
            form = dict(query_pairs(await read_body(receive, arrival, most=MAX_FORM)))
            cookie = core.sign_in(form.get("code", ""))
            secure = "; Secure" if arrival.base.startswith("https") else ""
            line = f"{COOKIE}={cookie}; Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Strict{secure}"
            headers: Headers = [(b"location", HOME.encode()), (b"set-cookie", line.encode()), _FRESH]
            await reply(send, 303, headers=headers)
        else:
            raise InputError("OMG-G003", "this page is shown with GET and answered with POST", details={"allow": ["GET", "POST"]})

    async def home(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if arrival_of(scope).path != "/":
            raise InputError("OMG-G002", "there is nothing at this address")
        await reply(send, 302, headers=[(b"location", HOME.encode())])

    return [Mounted(PREFIX, sign_in), Mounted("/", home)]


_FRESH = (b"cache-control", b"no-store")
