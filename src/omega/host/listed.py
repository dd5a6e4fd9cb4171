"""From an entry of a registry to a tool server: how it says that it is reached, as a record that an operator may add.

    remotes     the first over streamable HTTP whose address needs no filling in
    packages    npm by `npx`, PyPI by `uvx`, each at the one version that the entry names, over standard input and output

What an entry asks for (variables, headers, arguments) is given by reference by whoever adds it, or has a value in the entry; what is
lacking is named. No entry gives a value to a variable that says how programs are loaded, found or connected: with one, the package that is
named is not the program that runs. Other kinds of package are not started here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from omega.adapters.mcp import Transport, Upstream
from omega.adapters.net.web import check_address
from omega.host.arrangements import Documents
from omega.host.registry import Listing, listings
from omega.kernel.errors import Denied, InputError
from omega.wire.registry import LATEST

_PACKAGE: Final = re.compile(r"(@[A-Za-z0-9][\w.-]{0,99}/)?[A-Za-z0-9][\w.-]{0,199}")
_VERSION: Final = re.compile(r"[A-Za-z0-9][\w.+!-]{0,99}")
_STARTS: Final = {"npm": ("npx", "--yes"), "pypi": ("uvx",)}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_STEERS: Final = re.compile(
    r"(ld|dyld|gconv|glibc|malloc|node|ts_node|npm|yarn|pnpm|bun|deno|corepack|nvm|volta|uv|pip|pipx|poetry|virtual|conda|bash|zsh|git|ssh|ssl|openssl"
    r"|curl|requests|xdg|dotnet|coreclr|cor|complus|perl5|omega)_.*"
    r"|(python|ruby|perl|java|jdk|_java|lua|php|res_).*"
    r"|.*proxy|.*_ca_(bundle|file|path|certs?)|.*(index|registry)(_url)?|.*_(preload|library_path|init_file)"
    r"|path|pathext|prefix|zdotdir|home|homedrive|homepath|userprofile|appdata|localappdata|programdata|systemroot|windir|comspec|shell|env|ifs|ps4|cdpath"
    r"|prompt_command|tmpdir|tmp|temp|pwd|hostaliases|localdomain|nlspath|locpath|editor|visual|pager|browser",
    re.IGNORECASE,
)
"""Variables by which a loader, a shell, an interpreter, a package manager or a library for connections is steered."""


def find(documents: Documents, wanted: str) -> Listing:
    """The entry `NAME` or `NAME@VERSION`, in whichever registry; the latest where no version is named.

    Raises InputError: OMG-I003 when nobody lists it, OMG-I001 when it was deleted or now says something else than when it was read.
    """
    name, _, version = wanted.partition("@")
    found = [each for each in listings(documents) if each.entry.name == name]
    fitting = [each for each in found if each.entry.version == version or (version in ("", LATEST) and each.entry.latest)]
    if not fitting:
        known = ", ".join(each.entry.version for each in found[:10]) or "none"
        raise InputError(
            "OMG-I003", f"no registry that is followed lists {wanted[:200]} (versions of it: {known})", advice="omega mcp search"
        )
    chosen = fitting[0]
    if chosen.entry.status == "deleted":
        raise InputError("OMG-I001", f"{chosen.entry.key} was deleted by its registry", advice="ask its publisher why")
    if chosen.changed:
        advice = f"read it, then: omega mcp registry accept {chosen.registry} {chosen.entry.key}"
        raise InputError("OMG-I001", f"{chosen.entry.key} says something else than when it was read", advice=advice)
    return chosen


_REMOTES = {"streamable-http": Transport.HTTP, "sse": Transport.SSE}
"""How a registry calls the remote transports, the better one first."""


def upstream_from(
    listing: Listing, name: str, *, env: Mapping[str, str], headers: Mapping[str, str], arguments: Sequence[str], timeout_s: float
) -> Upstream:
    """The record of a listed server; `env` and `headers` are references, `arguments` follow those of the entry. Raises InputError."""
    server = listing.entry.server
    remotes = _objects(server.get("remotes"))
    for kind, spoken in _REMOTES.items():
        for remote in remotes:
            url = str(remote.get("url", ""))
            if remote.get("type") == kind and "{" not in url:
                _check_public(listing, url)
                wanted = _filled(listing, _objects(remote.get("headers")), headers, "--header")
                return Upstream(name=name, transport=spoken, url=url, headers=wanted, timeout_s=timeout_s)
    for package in _objects(server.get("packages")):
        transport = package.get("transport")
        start = _STARTS.get(str(package.get("registryType")))
        if start is not None and isinstance(transport, Mapping) and transport.get("type") == "stdio":
            argv = (*start, _pinned(listing, package), *_arguments(listing, package), *arguments)
            variables = _objects(package.get("environmentVariables"))
            _check_variables(listing, variables, env)
            wanted = _filled(listing, variables, env, "--env")
            return Upstream(name=name, transport=Transport.STDIO, argv=argv, env=wanted, timeout_s=timeout_s)
    raise _unfit(listing, "has neither an address that can be taken nor a package of npm or PyPI that is spoken to over standard input")


def _check_public(listing: Listing, url: str) -> None:
    """Raise InputError (OMG-I001) for an address that is none, or lies where the whole internet does not reach."""
    try:
        check_address(url)
    except (Denied, InputError) as error:
        advice = "if you trust it, add it by its address: omega mcp add NAME --url URL"
        raise _unfit(listing, f"names an address that is not taken from a registry: {error.cause}", advice=advice) from error


def _check_variables(listing: Listing, variables: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> None:
    """Raise InputError (OMG-I001) where an entry itself sets a variable that steers how programs run, or names what is none."""
    for each in variables:
        name = str(each.get("name", ""))
        if _VARIABLE.fullmatch(name) is None:
            raise _unfit(listing, f"names a variable {name[:80]!r}, which is none")
        if name not in given and _STEERS.fullmatch(name) is not None and each.get("value", each.get("default")) is not None:
            advice = f"if that is what you want, say so yourself: --env {name[:100]}=plain:TEXT"
            raise _unfit(listing, f"sets {name[:100]}, which says how programs are loaded, found or connected", advice=advice)


def _pinned(listing: Listing, package: Mapping[str, Any]) -> str:
    identifier, version = str(package.get("identifier", "")), str(package.get("version", ""))
    if _PACKAGE.fullmatch(identifier) is None or _VERSION.fullmatch(version) is None or version == LATEST:
        raise _unfit(listing, "names no package at one version")
    return f"{identifier}@{version}"


def _arguments(listing: Listing, package: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of an entry that have a value. Raises InputError (OMG-I001) for one that must be filled in."""
    if _objects(package.get("runtimeArguments")):
        raise _unfit(
            listing, "wants arguments for the program that starts it", advice="add it by its command: omega mcp add NAME -- COMMAND"
        )
    for each in _objects(package.get("packageArguments")):
        value = each.get("value", each.get("default"))
        named = str(each.get("name", "")) if each.get("type") == "named" else ""
        if isinstance(value, str) and "{" not in value:
            yield from [named, value] if named else [value]
        elif each.get("isRequired") is True or each.get("value") is not None:
            label = named or str(each.get("valueHint", "an argument"))
            raise _unfit(listing, f"wants {label[:100]}", advice="add it by its command: omega mcp add NAME -- COMMAND")


def _filled(listing: Listing, wanted: Sequence[Mapping[str, Any]], given: Mapping[str, str], option: str) -> dict[str, str]:
    """References for what an entry wants. Raises InputError (OMG-I001) naming what is lacking."""
    filled = dict(given)
    for each in wanted:
        key, value = str(each.get("name", "")), each.get("value", each.get("default"))
        if key in filled:
            continue
        if isinstance(value, str) and "{" not in value and each.get("isSecret") is not True:
            filled[key] = f"plain:{value}"
        elif each.get("isRequired") is True:
            raise _unfit(listing, f"wants {key[:100]}", advice=f"give it by reference: {option} {key[:100]}=env:NAME")
    return filled


def _objects(given: Any) -> list[Mapping[str, Any]]:
    return [each for each in given if isinstance(each, Mapping)] if isinstance(given, list) else []


def _unfit(listing: Listing, what: str, *, advice: str = "") -> InputError:
    return InputError("OMG-I001", f"{listing.entry.key} {what}", advice=advice)
