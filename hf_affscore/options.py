"""The table of all options of an analysis, with defaults and meanings.

The Python interface, the command line, the metric module and the metadata of a signature all use this table. An
option is one field here and one keyword of :func:`hf_affscore.analyze`; a test checks that the two agree.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

from hf_affscore.errors import InputError
from hf_affscore.spelling import did_you_mean
from hf_affscore.tokens import checked_token

Pooling = Literal["paper", "channels", "positions", "tokens", "none"]
Level = Literal["activations", "blocks"]
DType = Literal["float32", "bfloat16", "float16", "auto"]


def _option(
    default: Any,
    help: str,
    *,
    metavar: str | None = None,
    recorded: bool = True,
    common: bool = False,
    later: bool = False,
) -> Any:
    """A field with its command-line text; ``recorded`` marks options that can change a number.

    ``common`` marks those that most people need; help and pages show them first. An option that came ``later`` is
    recorded only where it differs from its default, so that earlier signatures and caches stay comparable.

    Options that are not recorded are left out of ``repr`` too, so that no token appears in a message.
    """
    about = {"help": help, "metavar": metavar, "recorded": recorded, "common": common, "later": later}
    return field(default=default, repr=recorded, metadata=about)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of an analysis; immutable, and checked on construction.

    Raises:
        InputError: A value is out of range; the message names the option, its value and the allowed values.

    Example:
        >>> Options(num_samples=512).shrinkage
        True
        >>> Options(group_size=1)
        Traceback (most recent call last):
        ...
        hf_affscore.errors.InputError: group_size is 1; expected a whole number of at least 2: a covariance needs \
two samples.
    """

    split: str | None = _option(
        None,
        "split, or a part of one: validation[100:600]; default: the test or validation split",
        common=True,
    )
    dataset_config: str | None = _option(None, "configuration of the data set", metavar="NAME")
    image_column: str | None = _option(None, "column that holds the images, where there are several")
    num_samples: int | Literal["all"] = _option(2048, 'images to use, or "all"', metavar="N", common=True)
    group_size: int = _option(2048, 'with "all": images that are scored together', metavar="N")
    max_images: int | None = _option(None, "use only the first N images of the draw", metavar="N")
    batch_size: int | None = _option(
        None, "images per forward pass; default: 8 on a CPU, 64 on a GPU", metavar="N"
    )
    shuffle: bool = _option(True, "draw the images at random instead of taking the first")
    seed: int = _option(0, "seed of the random draw of images, and of noise", metavar="N")
    pooling: Pooling = _option("paper", "how an activation becomes one row per image", common=True)
    level: Level = _option("activations", "what is judged: activations, or whole blocks", later=True)
    include: Sequence[str] = _option(
        (), "also score these activations, classes or module paths", metavar="PATTERN", common=True
    )
    exclude: Sequence[str] = _option(
        (), "leave these activations, classes or module paths out", metavar="PATTERN"
    )
    sparsity_samples: int = _option(128, "images to measure sparsity on", metavar="N")
    shrinkage: bool = _option(True, "add the score with Ledoit-Wolf covariances")
    regularization: float | Literal["relative"] = _option(
        1e-6, 'ridge added to both covariances; "relative": in units of their mean variance', metavar="R"
    )
    num_groups: int = _option(1, "also score this many disjoint parts of the samples", metavar="N")
    dtype: DType = _option("float32", "number format of the model's weights")
    random_weights: bool = _option(False, "analyse the architecture untrained, its weights drawn by the seed")
    timestep: int | None = _option(None, "noise step at which a denoiser is run; default: 0", metavar="N")
    repeat_frames: bool = _option(False, "give a video model each image as a clip in which nothing moves")
    device: str | None = _option(None, "device of the model; default: a GPU if there is one", common=True)
    device_map: str | None = _option(None, 'spread a large model over the devices: "auto"', metavar="MAP")
    attn_implementation: str | None = _option(None, "attention of transformers: eager, sdpa", metavar="NAME")
    revision: str | None = _option(None, "branch, tag or commit of the model")
    dataset_revision: str | None = _option(None, "branch, tag or commit of the data set", metavar="REVISION")
    loader: str | Callable[..., Any] | None = _option(
        None,
        "library that loads the checkpoint, or package.module:attribute; default: the one that wrote it",
        metavar="NAME",
    )
    trust_remote_code: bool = _option(False, "run code that comes with the checkpoint")
    token: str | bool | None = _option(
        None, "access token for the Hub; default: the one you logged in with", recorded=False
    )
    memory_limit: float = _option(
        0.1,
        "rows kept in memory; what exceeds this goes to a temporary file",
        metavar="GIGABYTES",
        recorded=False,
    )
    device_memory_limit: float = _option(
        0.0, "an accelerator's memory for scoring; 0: scores on the CPU", metavar="GIGABYTES", later=True
    )
    cache: bool = _option(
        True,
        "continue an interrupted analysis, and return a finished one without running it again",
        recorded=False,
    )
    reuse: str | None = _option(
        None,
        "fetch the signature from this collection on the Hub if it has one of the same analysis: user/signatures",
        metavar="REPO",
        recorded=False,
    )
    keep_rows: str | Path | None = _option(
        None, "write the pooled rows of every activation into this folder", metavar="FOLDER", recorded=False
    )
    progress: bool = _option(True, "show progress on stderr, where it is a terminal", recorded=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", checked_token(self.token))
        if self.level == "blocks" and self.pooling == "paper":  # the paper pools no blocks
            object.__setattr__(self, "pooling", "channels")
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if isinstance(value, numbers.Number) and hasattr(value, "item"):  # a number of numpy
                object.__setattr__(self, option.name, value.item())

        def expect(name: str, fine: bool, wanted: str) -> None:
            if not fine:
                value = getattr(self, name)
                meant = did_you_mean(value, _words(kinds[name])) if isinstance(value, str) else ""
                raise InputError(f"{name} is {value!r}; expected {wanted}{meant}")

        kinds = get_type_hints(Options)

        at_least_two = "a whole number of at least 2: a covariance needs two samples."
        in_words = {
            "num_samples": f"'all', or {at_least_two}",
            "regularization": "a finite number of at least 0, or 'relative'.",
        }
        for name, kind in kinds.items():
            expect(name, _is_of(getattr(self, name), kind), in_words.get(name, f"{_described(kind)}."))
        samples = self.group_size if self.num_samples == "all" else self.num_samples
        expect("num_samples", samples >= 2, in_words["num_samples"])
        expect("group_size", self.group_size >= 2, at_least_two)
        expect("max_images", self.max_images is None or self.max_images >= 2, at_least_two)
        one_place = self.device is None or (self.device_map is None)
        expect("device", one_place, "None beside device_map, which says where the model goes.")
        expect("memory_limit", self.memory_limit >= 0, "a number of gigabytes, or 0.")
        expect("device_memory_limit", self.device_memory_limit >= 0, "a number of gigabytes, or 0.")
        expect("seed", self.seed >= 0, "0 or more.")
        expect("batch_size", self.batch_size is None or self.batch_size >= 1, "a positive number, or None.")
        ridge = 0.0 if self.regularization == "relative" else self.regularization
        expect("regularization", 0 <= ridge < float("inf"), in_words["regularization"])
        parts = 1 <= self.num_groups <= samples // 2
        expect("num_groups", parts, f"1 to {samples // 2}: every part needs two samples.")
        one_spread = self.num_groups == 1 or self.num_samples != "all"
        expect(
            "num_groups", one_spread, "1 beside num_samples='all', whose mean and deviation are over groups."
        )
        scored, one_group = self.level == "activations", self.num_samples != "all" and self.num_groups == 1
        sentence = (
            "'activations' beside num_samples='all' or num_groups: blocks are judged on one group of images."
        )
        expect("level", scored or one_group, sentence)
        expect(
            "reuse", scored or self.reuse is None, "None beside level='blocks', which no collection holds."
        )
        expect("sparsity_samples", self.sparsity_samples >= 0, "a number of images, or 0.")

    def refuse(self, names: Sequence[str], why: str) -> None:
        """Refuse options that cannot apply to the given input.

        Raises:
            InputError: One of them differs from its default.
        """
        for name in names:
            value = getattr(self, name)
            if value != type(self).__dataclass_fields__[name].default:
                raise InputError(f"{name} is {value!r}, which cannot apply: {why}. Leave it out.")

    def recorded(self) -> dict[str, Any]:
        """The options that can change a number, by name, JSON-ready; a function is given by its name."""
        return {
            option.name: _in_json(value)
            for option in dataclasses.fields(self)
            if option.metadata["recorded"]
            for value in [getattr(self, option.name)]
            if not (option.metadata["later"] and value == option.default)
        }


def _is_of(value: Any, kind: Any) -> bool:
    """Whether an option's value has the annotated type. A bool does not count as a number."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(_is_of(value, each) for each in get_args(kind))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin is Callable:
        return callable(value)
    if origin is not None:  # the one container among the options: Sequence[str]
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str | bytes)
            and all(isinstance(item, str) for item in value)
        )
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, kind)


def _words(kind: Any) -> tuple[str, ...]:
    """The words that an annotation allows."""
    if get_origin(kind) in (Union, UnionType):
        return tuple(word for each in get_args(kind) for word in _words(each))
    return get_args(kind) if get_origin(kind) is Literal else ()


def _described(kind: Any) -> str:
    """An annotation in words, for a message."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_described, get_args(kind)))
    if origin is Literal:
        choices = get_args(kind)
        return repr(choices[0]) if len(choices) == 1 else f"one of {', '.join(choices)}"
    if origin is not None:
        return "a function" if origin is Callable else "a list of patterns"
    names: dict[Any, str] = {NoneType: "None", int: "a whole number", float: "a number"}
    return names.get(kind) or str(kind.__name__)


class AnalysisOptions(TypedDict, total=False):
    """The options as keywords of functions that pass them on; a test keeps names and types equal to the table."""

    split: str | None
    dataset_config: str | None
    image_column: str | None
    num_samples: int | Literal["all"]
    group_size: int
    max_images: int | None
    batch_size: int | None
    shuffle: bool
    seed: int
    pooling: Pooling
    level: Level
    include: Sequence[str]
    exclude: Sequence[str]
    sparsity_samples: int
    shrinkage: bool
    regularization: float | Literal["relative"]
    num_groups: int
    dtype: DType
    random_weights: bool
    timestep: int | None
    repeat_frames: bool
    device: str | None
    device_map: str | None
    attn_implementation: str | None
    revision: str | None
    dataset_revision: str | None
    loader: str | Callable[..., Any] | None
    trust_remote_code: bool
    token: str | bool | None
    memory_limit: float
    device_memory_limit: float
    cache: bool
    reuse: str | None
    keep_rows: str | Path | None
    progress: bool


def name_of(function: Callable[..., Any]) -> str:
    """``module:name`` of a function or class, as on the command line."""
    return (
        f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', type(function).__name__)}"
    )


def _in_json(value: Any) -> Any:
    if callable(value):
        return name_of(value)
    return list(value) if isinstance(value, tuple) else value
