"""Targets: what `omega run TARGET` names, loaded from the operator's own disk.

    path/to/flow.py             the file's `main`, or its only flow
    path/to/flow.py:name        that flow of the file
    path/to/folder              its `flow.py`
    path/to/flow.poml           the workflow that the document describes (`omega.host.documents`)
    package.module:name         from an installed package
    code_review                 an example that comes with Omega
    service:insights.summary    a method of an installed service

A target is a choice of the person at the keyboard (or the one sealed in the start record), never of anything that came over a network.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from omega.host.attesting import demand, enforce, spec_of
from omega.host.discover import find_method
from omega.host.documents import SUFFIX, beside, read_document
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import DefinitionError, InputError, OmegaError
from omega.kernel.flow import Flow
from omega.kernel.servers import Server

if TYPE_CHECKING:
    from omega.kernel.poml import Document

MAIN = "main"
SERVICE = "service:"
_PACKAGE = Path(__file__).resolve().parents[1]
EXAMPLES = (Path("examples"), _PACKAGE / "examples", _PACKAGE.parents[1] / "examples")
"""Where examples are looked for: in the working folder, in the installed package, in the checkout."""


@dataclass(frozen=True, slots=True)
class Target:
    """A loaded target: the flow, the tool servers declared beside it, and the text by which it can be loaded again."""

    text: str
    flow: AnyFlow
    servers: tuple[Server, ...]


def load_target(text: str) -> Target:
    """Load what `text` names. Raises InputError (OMG-I002) when there is no such thing, DefinitionError when its code does not stand."""
    if text.startswith(SERVICE):
        return Target(text, find_method(text.removeprefix(SERVICE))[0], ())
    place, _, name = text.rpartition(":") if ":" in text and not text.endswith(":") else (text, "", "")
    path = _file(place or text)
    if path is not None and path.suffix == SUFFIX:
        return _load_document(path, name, text)
    if path is not None:
        module, canonical = _load_file(path), str(path)
    elif name and all(part.isidentifier() for part in place.split(".")):
        module, canonical = _load_module(place), place
    else:
        known = ", ".join(sorted(examples())) or "none found here"
        raise InputError("OMG-I002", f"{text!r} is no file, no module:flow and no example (examples: {known})")
    flow = _pick(module, name, text)
    if flow.name in (flow.body.kind, MAIN):  # what has no name of its own goes by where it stands
        flow = flow.named(_title(name, path or Path(place)))
    folder = str(path.parent) if path is not None else ""
    servers = tuple(replace(each, cwd=folder) for each in getattr(module, "servers", ()) if isinstance(each, Server))
    return Target(f"{canonical}:{name}" if name else canonical, flow, servers)


def served_targets(text: str) -> list[Target]:
    """What a worker serves that is given `text`: the flow it names, and where it names a whole file or module, every other flow in there
    (children that a flow starts are mostly defined beside it). Raises what `load_target` raises."""
    found = [load_target(text)]
    place = found[0].text.partition(":")[0]
    module = next((each for each in list(sys.modules.values()) if getattr(each, "__file__", None) == place), sys.modules.get(place))
    if module is None or ":" in text:
        return found
    others = {value.digest: value for key, value in sorted(vars(module).items()) if isinstance(value, Flow) and not key.startswith("_")}
    others.pop(found[0].flow.digest, None)
    return found + [Target(found[0].text, flow, found[0].servers) for flow in others.values()]


def _load_document(path: Path, name: str, text: str) -> Target:
    """The workflow of a document, with its servers. Raises DefinitionError (L codes) with every problem of it."""
    if name:
        raise InputError("OMG-I002", f"{text!r}: a document is one flow, it has none called {name}", advice=f"omega run {path}")
    demand(path)
    from omega.kernel.poml import servers_of

    document = read_document(path, name=path.name)
    servers = tuple(replace(each, cwd=str(path.parent)) for each in servers_of(document))
    return Target(str(path), flow_of(document, path.parent), servers)


def flow_of(document: Document, folder: Path) -> AnyFlow:
    """The flow of a document that stands in `folder`, with the Python that it names loaded. Raises DefinitionError (L codes)."""
    from omega.kernel.poml import to_flow

    return to_flow(document, beside(folder.resolve(), _load_file, _pick))


def examples() -> dict[str, Path]:
    """The examples that can be run by name, with their `flow.py` or their document."""
    found: dict[str, Path] = {}
    for folder in reversed(EXAMPLES):
        for path in sorted(folder.glob("*/flow.py")):
            found[path.parent.name] = path
        found |= {path.stem: path for path in sorted(folder.glob(f"*/*{SUFFIX}"))}
    return found


def _file(place: str) -> Path | None:
    path = Path(place)
    if path.is_dir() and (path / "flow.py").is_file():
        return (path / "flow.py").resolve()
    if path.is_file():
        return path.resolve()
    return examples()[place].resolve() if place in examples() else None


def _load_file(path: Path) -> ModuleType:
    """A `flow.py` in a folder is loaded as `folder.flow`, so that the modules beside it can be imported as `folder.other`."""
    in_folder = path.name == "flow.py" and path.parent.name.isidentifier()
    name = f"{path.parent.name}.{path.stem}" if in_folder else path.stem
    root = str(path.parent.parent if in_folder else path.parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    spec = spec_of(name, path)
    if spec is None or spec.loader is None:
        raise InputError("OMG-I002", f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except OmegaError:
        sys.modules.pop(name, None)
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        raise DefinitionError("OMG-F002", f"{path.name} does not load: {type(error).__name__}: {error}") from error
    return module


def _load_module(name: str) -> ModuleType:
    enforce()
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError("OMG-I002", f"there is no module {error.name}") from error


def _pick(module: ModuleType, name: str, text: str) -> AnyFlow:
    flows = {key: value for key, value in vars(module).items() if isinstance(value, Flow) and not key.startswith("_")}
    if name:
        if name not in flows:
            raise InputError("OMG-I002", f"{text!r}: there is no flow {name} (flows there: {_list(sorted(flows))})")
        return flows[name]
    if MAIN in flows:
        return flows[MAIN]
    if len(flows) == 1:
        return next(iter(flows.values()))
    raise InputError(
        "OMG-I002",
        f"{text!r} holds {len(flows)} flows and none is called main: {_list(sorted(flows))}",
        advice=f"name one: {text}:FLOW, or set main = FLOW",
    )


def _title(name: str, path: Path) -> str:
    stem = name if name and name != MAIN else path.parent.name if path.name == "flow.py" else path.stem
    return re.sub(r"[^A-Za-z0-9_.-]", "-", stem).lstrip("-.0123456789")[:64] or MAIN


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
