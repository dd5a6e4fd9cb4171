"""Clients ask people for access: the authorization endpoint, registration, and what somebody has allowed (OAuth 2.1, RFC 9700).

    GET  /oauth/authorize    the page on which somebody allows or refuses it; who has not signed in does so first
    POST /oauth/authorize    the answer of that page: back to the client with a code, or with a refusal
    POST /oauth/register     a client registers itself (RFC 7591), where that is on
    GET  /oauth/grants       what the caller has allowed, as JSON; DELETE /oauth/grants/ID ends it
    GET  /connections        the same as a page, with a button for each

What is asked for is looked at in two steps. As long as it is not certain who asks and where they may be answered, a fault is shown to the
person and nobody is sent anywhere (RFC 6749, 4.1.2.1); after that the client is told. Documents of clients are fetched for somebody who
signed in alone. The page's form carries a sealed ticket, bound to the person, of what was shown on it: nothing else can be allowed by it.
"""

from __future__ import annotations

from omega.gateway.front import consent_page, signing_in
from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Proof, Receive, Send, Visitor
from omega.gateway.front.desk import Asking, Desk
from omega.gateway.front.request import Arrival, Headers, arrival_of, query_pairs, read_body, read_json_body, reply, reply_json
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.wire.oauth import answered, unfit
from omega.wire.problem import status_of

AUTHORIZE, REGISTER, GRANTS = "/oauth/authorize", "/oauth/register", "/oauth/grants"
CONNECTIONS = "/connections"
MAX_FORM = 64 << 10
"""Largest form in bytes: a ticket is some thousand."""

MAX_REGISTRATION = 32 << 10
_FRESH: Headers = [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]


def authorize(core: Core, desk: Desk) -> App:
    """The authorization endpoint."""

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.method not in ("GET", "POST"):
            raise InputError("OMG-G003", "this page is shown with GET and answered with POST", details={"allow": ["GET", "POST"]})
        visitor = _person(core, arrival)
        try:
            if visitor is None:
                await _sign_in_first(arrival, send)
            elif arrival.method == "GET":
                await _show(desk, arrival, visitor, send)
            else:
                await _decide(desk, arrival, visitor, receive, send)
        except OmegaError as error:
            if status_of(error.code) >= 500:
                raise
            await consent_page.fault(send, error, status_of(error.code))

    return app


def _person(core: Core, arrival: Arrival) -> Visitor | None:
    """Who has signed in with this browser; nobody who shows anything else than its cookie, for what a page shows is meant for a person."""
    try:
        visitor = core.visitor(arrival.headers, method=arrival.method, url=arrival.url, address=arrival.address, peer=arrival.peer)
    except Denied:
        return None
    person = visitor.proof is Proof.BROWSER and visitor.scope.principal.startswith("person:") and not visitor.scope.actors
    return visitor if person else None


async def _sign_in_first(arrival: Arrival, send: Send) -> None:
    """The page for signing in, which leads back. A browser that was sent here by a foreign page keeps its cookie to itself (SameSite): it
    is asked to come again from here, which is the same request a second time."""
    if arrival.method != "GET":
        raise Denied("OMG-T001", "nobody has signed in with this browser", advice="go back to the client and begin again")
    here = f"{AUTHORIZE}?{arrival.query.decode('latin-1')}"
    if arrival.header("sec-fetch-site") in ("cross-site", "same-site") and signing_in.onward_of(here):
        await consent_page.come_again(send, here)
    else:
        await signing_in.ask(send, here, title="sign in first")


async def _show(desk: Desk, arrival: Arrival, visitor: Visitor, send: Send) -> None:
    asking = await desk.asked(arrival.parameters(), arrival.base, visitor)
    if asking.fault:
        await _back(send, refusal(asking, asking.fault, asking.words))
        return
    consent = desk.consent(asking, visitor)
    if consent.before and consent.assured:
        await consent_page.onward(send, await desk.agree(consent.ticket, visitor))
        return
    await consent_page.show(send, consent)


async def _decide(desk: Desk, arrival: Arrival, visitor: Visitor, receive: Receive, send: Send) -> None:
    form = dict(query_pairs(await read_body(receive, arrival, most=MAX_FORM)))
    ticket, word = form.get("ticket", ""), form.get("decision", "")
    if word not in ("allow", "deny"):
        raise unfit("the answer is allow or deny", oauth="invalid_request")
    await _back(send, await (desk.agree if word == "allow" else desk.refuse)(ticket, visitor))


async def _back(send: Send, where: str) -> None:
    """To the client. 303: what was posted here is not posted there (RFC 9700, 4.12)."""
    await reply(send, 303, headers=[(b"location", where.encode("ascii")), *_FRESH])


def refusal(asking: Asking, word: str, words: str) -> str:
    """Where the client is answered with an error (RFC 6749, 4.1.2.1; RFC 9207)."""
    said = {"error": word, "error_description": words, "state": asking.state, "iss": asking.issuer}
    return answered(asking.redirect, said)


async def register(desk: Desk, arrival: Arrival, receive: Receive, send: Send) -> None:
    """A client registers itself. Errors have the form of RFC 7591, 3.2.2."""
    try:
        document = await read_json_body(receive, arrival, most=MAX_REGISTRATION)
        if not isinstance(document, dict):
            raise unfit("a client registers with a JSON object")
        made = desk.register(document, arrival.address)
    except InputError as error:
        if error.code != "OMG-G012":
            raise
        word = str(error.details.get("oauth", "invalid_client_metadata"))
        said = {"error": word, "error_description": error.cause, "code": error.code}
        await reply_json(send, said, status=403 if word == "access_denied" else 400, headers=_FRESH)
        return
    await reply_json(send, made, status=201, headers=_FRESH)


async def grants(core: Core, desk: Desk, arrival: Arrival, send: Send) -> None:
    """What the caller has allowed, for programs."""
    visitor = core.visitor(arrival.headers, method=arrival.method, url=arrival.url, address=arrival.address, peer=arrival.peer)
    grant = arrival.path.removeprefix(GRANTS).strip("/")
    if arrival.method == "GET" and not grant:
        await reply_json(send, {"grants": desk.connections(visitor)}, headers=_FRESH)
    elif arrival.method == "DELETE" and grant:
        await desk.withdraw(grant, visitor)
        await reply(send, 204)
    else:
        raise InputError("OMG-G003", "grants are listed with GET and ended with DELETE", details={"allow": ["GET", "DELETE"]})


def connections(core: Core, desk: Desk) -> Mounted:
    """The page on which somebody sees what they have allowed, and ends it."""

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.path != CONNECTIONS:
            raise InputError("OMG-G002", "there is nothing at this address")
        visitor = _person(core, arrival)
        if visitor is None:
            await signing_in.ask(send, CONNECTIONS, title="sign in first")
        elif arrival.method == "GET":
            await consent_page.listing(send, visitor.scope.principal, desk.connections(visitor))
        elif arrival.method == "POST":
            form = dict(query_pairs(await read_body(receive, arrival, most=MAX_FORM)))
            await desk.withdraw(form.get("grant", ""), visitor)
            await reply(send, 303, headers=[(b"location", CONNECTIONS.encode()), *_FRESH])
        else:
            raise InputError("OMG-G003", "this page is shown with GET and answered with POST", details={"allow": ["GET", "POST"]})

    return Mounted(CONNECTIONS, app)
