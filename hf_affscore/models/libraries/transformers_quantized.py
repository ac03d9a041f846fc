"""Quantised checkpoints of transformers: what they are, for the signature, and what loading one needs.

The settings are those of ``quantization_config`` in ``config.json``. Methods that only run on a GPU, or that need
a package, say so in one sentence.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hf_affscore.errors import AffscoreError, ModelError, shown_cause
from hf_affscore.models.repository import Repository

#: Per method: the packages that loading needs, by their names in Python and for pip; other methods need none.
PACKAGES: dict[str, dict[str, str]] = {
    "aqlm": {"aqlm": "aqlm[cpu]"},
    "auto-round": {"auto_round": "auto-round"},
    "awq": {"gptqmodel": "gptqmodel"},
    "bitsandbytes": {"bitsandbytes": "bitsandbytes"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "eetq": {"kernels": "kernels"},
    "fp_quant": {"fp_quant": "fp_quant"},
    "gptq": {"gptqmodel": "gptqmodel", "optimum": "optimum"},
    "hqq": {"hqq": "hqq"},
    "quanto": {"optimum.quanto": "optimum-quanto"},
    "quark": {"quark": "amd-quark"},
    "torchao": {"torchao": "torchao"},
    "vptq": {"vptq": "vptq"},
}

#: Settings that hold a number of bits.
_BITS = {"bits", "nbits", "num_bits", "w_bit"}


def quantization(config: Any) -> dict[str, Any]:
    """The quantisation of a configuration, JSON-ready: its settings, among them ``quant_method``, and ``bits``.

    ``bits`` is the number of bits of a weight, a list of several, or None if the settings do not say. Empty for a
    configuration that is not quantised.
    """
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return {}
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    plain = json.loads(json.dumps(settings, default=str))
    usual = "bitsandbytes" if plain.get("load_in_8bit") or plain.get("load_in_4bit") else None
    method = str(plain.get("quant_method") or usual).rpartition(".")[2].lower()
    return {**plain, "quant_method": method, "bits": bits_of({**plain, "quant_method": method})}


def bits_of(settings: dict[str, Any]) -> int | list[int] | None:
    """Bits of a weight, read from the settings of any method.

    Example:
        >>> bits_of({"quant_method": "gptq", "bits": 4})
        4
        >>> bits_of({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}})
        8
    """
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return 4 if settings.get("load_in_4bit") else 8
    leaves = [(path, value) for path, value in _leaves(settings) if not _of_activations(path)]
    numbers = {value for path, value in leaves if path[-1] in _BITS and isinstance(value, int)}
    words = [value.lower() for path, value in leaves if isinstance(value, str) and _names_a_format(path)]
    found = numbers or {
        int(bits) for word in words for bits in re.findall(r"(?:int|fp|float)(\d)(?!\d|dyn)", word)
    }
    return min(found) if len(found) == 1 else sorted(found) or None


def _leaves(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _leaves(value, (*path, str(name)))
    elif path:
        yield path, settings


def _of_activations(path: tuple[str, ...]) -> bool:
    return any("activation" in name or "kv_cache" in name for name in path)


def _names_a_format(path: tuple[str, ...]) -> bool:
    """Whether a setting names a number format of weights: ``weights``, ``weight_dtype``, a class, or the method."""
    return path[-1] in {"_type", "quant_method"} or path[0] == "weights" or "weight_dtype" in path


def packages() -> dict[str, str]:
    """The versions of the installed packages that load quantised checkpoints."""
    wanted = {each.partition("[")[0] for needed in PACKAGES.values() for each in needed.values()}
    there = ((name, _version(name)) for name in sorted(wanted))
    return {name: version for name, version in there if version is not None}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextmanager
def quantization_explained(repository: Repository, found: dict[str, Any]) -> Iterator[None]:
    """Turn any error of loading a quantised checkpoint into a sentence with its method and the next step.

    Args:
        repository: The checkpoint.
        found: Its :func:`quantization`; if empty, errors pass unchanged.

    Raises:
        ModelError: A package is missing, transformers does not know the method, or loading failed.
    """
    if not found:
        yield
        return
    bits = "" if found["bits"] is None else f" ({found['bits']} bits)"
    what = f"Model {repository.source.name!r} is quantised by {found['quant_method']}{bits}"
    original = f"analyse the checkpoint that it was made from{_base_model(repository)}"
    missing = _missing(found["quant_method"])
    if missing:
        raise ModelError(
            f"{what}, which needs {' and '.join(missing)}; not installed. Install it: pip install "
            f"{' '.join(missing)}; or {original}."
        )
    _check_known(found, what, original)
    try:
        yield
    except AffscoreError:
        raise
    except Exception as error:  # packages for quantisation may raise anything
        said = " ".join(str(error).split()).rstrip(". ") or type(error).__name__
        raise ModelError(
            f"{what} and could not be loaded on this machine: {said}. Load it where its method runs, or {original}."
        ) from shown_cause(error)


def _missing(method: str) -> list[str]:
    """The packages that a method needs and that are not installed, as pip calls them."""
    needed = PACKAGES.get(method, {})
    return [pip for name, pip in needed.items() if not _can_be_imported(name)]


def _can_be_imported(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _check_known(found: dict[str, Any], what: str, original: str) -> None:
    """transformers would load a checkpoint of an unknown method as if it were not quantised."""
    import transformers
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    names = {name.removesuffix("_4bit").removesuffix("_8bit") for name in AUTO_QUANTIZATION_CONFIG_MAPPING}
    if found["quant_method"] not in names:
        raise ModelError(
            f"{what}, which transformers {transformers.__version__} does not know; expected one of "
            f"{', '.join(sorted(names))}. Use the version that wrote it, or {original}."
        )


def _base_model(repository: Repository) -> str:
    """The checkpoint that the card names as the base, for a message."""
    named = getattr(repository.card, "base_model", None)
    name = named[0] if isinstance(named, list) and named else named
    return f" ({name})" if isinstance(name, str) else ""
