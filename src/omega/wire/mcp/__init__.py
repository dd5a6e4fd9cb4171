"""The Model Context Protocol as values: which revisions there are, what a request must say, what an answer looks like. No input or output.

Two eras are spoken. Revision 2026-07-28 has no handshake and no session: each request says in `params._meta` which revision it speaks and
what the client can do, and the headers `Mcp-Method` and `Mcp-Name` repeat what the body says. Revisions up to 2025-11-25 begin with
`initialize` and go on with a session id.
"""

from omega.wire.mcp.eras import HANDSHAKE, LATEST_HANDSHAKE, MODERN, Era, negotiated
from omega.wire.mcp.headers import check_arguments_in_headers, check_routing, decode_header, encode_header
from omega.wire.mcp.results import call_result, empty_reason, listing, modern

__all__ = [
    "HANDSHAKE",
    "LATEST_HANDSHAKE",
    "MODERN",
    "Era",
    "call_result",
    "check_arguments_in_headers",
    "check_routing",
    "decode_header",
    "empty_reason",
    "encode_header",
    "listing",
    "modern",
    "negotiated",
]
