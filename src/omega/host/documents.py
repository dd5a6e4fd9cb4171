"""Documents as targets: a `.poml` file of the operator's own disk becomes the flow it describes.

Reading a document imports nothing. Making a flow of it loads the Python that its nodes name: first from the modules beside the document,
then from installed packages. Like any target, a document that is run is a choice of the person at the keyboard; one from somebody else is
looked at with the commands that only read (`omega poml check --alone`, `show`, `fmt`, `diff`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import DefinitionError, InputError, OmegaError

if TYPE_CHECKING:
    from omega.kernel.poml import Document, Resolve

SUFFIX = ".poml"

MAX_BYTES = 4_000_000
"""Most bytes of a document that are read: four for each character that its reader takes, so that the reader says what is wrong."""

LoadFile = Callable[[Path], ModuleType]
Pick = Callable[[ModuleType, str, str], AnyFlow]


def read_document(path: Path, *, name: str = "") -> Document:
    """The document in a file; errors call it `name`, else as the path says.

    Raises InputError (OMG-I002) when it cannot be read, DefinitionError (L codes) with every problem when it is none.
    """
    from omega.kernel import poml

    return poml.parse(read_bytes(path), name=name or str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a document. Raises InputError (OMG-I002) for a file that cannot be read or is longer than any document."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError("OMG-I002", f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}") from error
    if len(data) > MAX_BYTES:
        raise InputError("OMG-I002", f"{path} is longer than {MAX_BYTES:,} bytes: no document is", advice="split the document")
    return data


def beside(folder: Path, load_file: LoadFile, pick: Pick) -> Resolve:
    """Finds the flow that `module:name` refers to, beside a document in `folder` or in an installed package.

    `load_file` and `pick` are those of Python targets: a module is loaded once, whoever names it.
    """

    def resolve(reference: str) -> AnyFlow:
        place, _, name = reference.partition(":")
        module = _module(place, folder, load_file)
        if "." not in name:
            return pick(module, name, reference)
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise LookupError(reference)
        flow: AnyFlow = found
        return flow

    return resolve


def _module(place: str, folder: Path, load_file: LoadFile) -> ModuleType:
    first = place.partition(".")[0]
    if first in sys.stdlib_module_names:
        raise InputError("OMG-I002", f"{first} is a module of Python itself", advice="name a module beside the document")
    alone = folder / f"{place}.py"
    if "." not in place and alone.is_file():
        return load_file(alone)
    here = (folder / first).is_dir() or (folder / f"{first}.py").is_file()
    if here and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise InputError("OMG-I002", f"there is no module {error.name}") from error
    except OmegaError:
        raise
    except Exception as error:  # whatever the author's module raises while it is loaded
        raise DefinitionError("OMG-F002", f"{place} does not load: {type(error).__name__}: {error}") from error
    where = Path(getattr(module, "__file__", None) or folder)
    if here and not where.resolve().is_relative_to(folder):
        raise InputError("OMG-I002", f"{place} was loaded from {where} before", advice="give one of the two another name")
    return module
