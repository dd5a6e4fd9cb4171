"""XML of strangers, read strictly.

Refused before anything of it is looked at: more than `MAX_BYTES`, another encoding than UTF-8, a document type (and with it entities,
external ones and bombs of them), comments and processing instructions (one reader sees `a@x.org<!---->.evil.org` whole, another half of
it), more elements or levels than a response has, ids that stand twice.
"""

from __future__ import annotations

from typing import Any, Final

from omega.kernel.errors import Denied, InputError, OmegaError

MAX_BYTES: Final = 256 << 10
MAX_ELEMENTS: Final = 2_000
MAX_LEVELS: Final = 24

PROTOCOL: Final = "{urn:oasis:names:tc:SAML:2.0:protocol}"
ASSERTION: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
METADATA: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
SIGNATURE: Final = "{http://www.w3.org/2000/09/xmldsig#}"
IDS: Final = ("ID", "Id", "id", "AssertionID", "{http://www.w3.org/XML/1998/namespace}id")


def refused(why: str) -> Denied:
    """A response that a check ended."""
    return Denied("OMG-T001", f"the provider's response is not accepted: {why}", advice="sign in again; ask an admin if it happens again")


def read(body: bytes) -> Any:
    """The root element of a document. Raises Denied (OMG-T001), OmegaError (OMG-X001) without the extra."""
    etree = library("lxml.etree")
    if len(body) > MAX_BYTES:
        raise refused(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused("it is not UTF-8") from error
    if "\x00" in text or "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise refused("it has a document type")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise refused("it is no XML") from error
    info = root.getroottree().docinfo
    if (
        info.internalDTD is not None
        or info.externalDTD is not None
        or (info.encoding or "UTF-8").upper() not in ("UTF-8", "ASCII", "US-ASCII")
    ):
        raise refused("it has a document type, or another encoding")
    _demand_plain(root)
    return root


def _demand_plain(root: Any) -> None:
    """Elements alone, not too many, not too deep, no id twice. Raises Denied (OMG-T001)."""
    seen: set[str] = set()
    left, count = [(root, 1)], 0
    while left:
        element, level = left.pop()
        count += 1
        if not isinstance(element.tag, str):
            raise refused("it has comments, processing instructions or entities")
        if count > MAX_ELEMENTS or level > MAX_LEVELS:
            raise refused("it has more elements than a response has")
        for name in IDS:
            value = element.get(name)
            if value is not None and value in seen:
                raise refused("an id stands there twice")
            seen |= {value} if value is not None else set()
        left += [(child, level + 1) for child in element]
    before = root.getprevious()
    if before is not None or root.getnext() is not None:
        raise refused("something stands beside the document")


def text_of(element: Any) -> str:
    """The text of an element without children; empty for none. Raises Denied (OMG-T001) where it has children."""
    if element is None:
        return ""
    if len(element):
        raise refused("a text of it has parts")
    return (element.text or "").strip()


def library(name: str) -> Any:
    """A module of the extra `saml`. Raises OmegaError (OMG-X001) where it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(error) from error


def _missing(error: ImportError) -> OmegaError:
    return InputError("OMG-X001", f"{error.name or 'signxml'} is not installed, and this needs it", advice="install the extra `saml`")
