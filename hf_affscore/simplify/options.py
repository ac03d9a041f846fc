"""The options of an analysis that a linearisation takes: what is loaded, and which images are drawn."""

from __future__ import annotations

from dataclasses import fields, replace

from hf_affscore.errors import InputError
from hf_affscore.options import AnalysisOptions, Options

#: Those that apply.
APPLYING = (
    *(
        "split",
        "dataset_config",
        "image_column",
        "num_samples",
        "max_images",
        "batch_size",
        "shuffle",
        "seed",
    ),
    *("dtype", "repeat_frames", "device", "attn_implementation", "revision", "dataset_revision", "loader"),
    *("trust_remote_code", "token", "progress", "level"),
)

#: Images to draw, where nothing else is said: fewer than for an analysis, since all are held in memory.
NUM_SAMPLES = 512


def checked_options(chosen: AnalysisOptions) -> Options:
    """The options in one object.

    Raises:
        InputError: A value is out of range, or an option does not apply.
        TypeError: An option is misspelt.
    """
    options = replace(Options(num_samples=NUM_SAMPLES), **chosen)
    if options.num_samples == "all":
        raise InputError("num_samples is 'all'; expected a number: the images are held in memory.")
    by_level = {"pooling"} - chosen.keys()  # blocks have another default
    others = [option.name for option in fields(Options) if option.name not in {*APPLYING, *by_level}]
    options.refuse(others, "linearise loads a classifier and draws images, and scores nothing")
    return options
