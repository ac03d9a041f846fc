"""Load a checkpoint with the user's own loader: ``package.module:attribute``, or a function."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import AffscoreError, InputError, ModelError, shown_cause
from hf_affscore.models.libraries.library import Loaded, NeedsWeights, as_asked
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options, name_of

if TYPE_CHECKING:
    from torch import nn


class ByPath:
    """See :class:`~hf_affscore.models.libraries.library.Library`.

    Args:
        loader: A function, a class with ``from_pretrained``, or the path of one.

    Raises:
        InputError: The path does not name a callable.
    """

    def __init__(self, loader: str | Callable[..., Any]) -> None:
        self.name = loader if isinstance(loader, str) else name_of(loader)
        target = _resolved(loader) if isinstance(loader, str) else loader
        self._call: Callable[..., Any] = getattr(target, "from_pretrained", target)

    @property
    def version(self) -> str | None:
        """Version of the loader's distribution; None if it belongs to none."""
        package = self.name.partition(":")[0].partition(".")[0]
        owners = importlib.metadata.packages_distributions().get(package, ())
        return next((importlib.metadata.version(owner) for owner in owners), None)

    def recognises(self, repository: Repository) -> bool:
        """Always: the user chose this loader."""
        return True

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The network that the loader returns for the folder, or for the id and the commit."""
        source = repository.source
        named: dict[str, Any] = {} if source.commit is None else {"revision": source.commit}
        if options.token is not None and "token" in inspect.signature(self._call).parameters:
            named["token"] = options.token
        _check_takes(self._call, self.name, named)
        try:
            returned = self._call(source.location, **named)
        except AffscoreError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise ModelError(
                f"loader {self.name} failed {_where(error)}. Repair it, or pass the module."
            ) from (shown_cause(error))
        module, processor = (
            returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
        )
        return Loaded(as_asked(_checked(module, self.name), options), processor=processor)

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """Not possible: a loader returns the network with its weights."""
        raise NeedsWeights(f"{self.name} gives a network with its weights; it cannot be built without them.")

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """None: this is called only if the loader returned no processor."""
        return None


def _where(error: Exception) -> str:
    """The place and the message of an error in the user's code."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split()).rstrip(". ")
    return f"in line {last.lineno} of {Path(last.filename).name}: {type(error).__name__}: {said}"


def _resolved(path: str) -> Callable[..., Any]:
    """The object that ``package.module:attribute`` names."""
    module, _, attributes = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"loader is {path!r}, which could not be imported: {error}. Expected package.module:attribute of an "
            "installed package, or of a module in a folder of PYTHONPATH."
        ) from error
    if not callable(found):
        raise InputError(f"loader is {path!r}, a {type(found).__name__}; expected a function or a class.")
    return found  # type: ignore[no-any-return]


def _check_takes(call: Callable[..., Any], name: str, named: dict[str, Any]) -> None:
    try:
        inspect.signature(call).bind("model", **named)
    except TypeError as error:
        given = ", ".join(["the id" if named else "the folder", *(f"{key}=" for key in named)])
        raise InputError(f"loader {name} could not be called with {given}: {error}.") from error


def _checked(module: Any, name: str) -> nn.Module:
    from torch import nn

    if not isinstance(module, nn.Module):
        raise ModelError(
            f"loader {name} returned a {type(module).__name__}; expected a torch.nn.Module, or a pair of a module "
            "and its image processor."
        )
    return module
