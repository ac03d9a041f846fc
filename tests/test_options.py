"""One table of options serves the Python interface, the command line and the provenance."""

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_type_hints

import numpy as np
import pytest

from docs import command_line
from hf_affscore import AffinityCallback, analyze, analyze_many, track
from hf_affscore.cli import main, parser
from hf_affscore.errors import InputError
from hf_affscore.options import AnalysisOptions, Options
from tests.docs.pages import ROOT


def test_analyze_has_exactly_the_options_and_their_defaults():
    parameters = dict(inspect.signature(analyze).parameters)
    for name in ("model", "dataset", "processor", "name"):
        del parameters[name]
    assert {name: p.default for name, p in parameters.items()} == dataclasses.asdict(Options())
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())


def test_functions_that_hand_options_on_have_the_same_keywords():
    """One typed dictionary of names and types; the defaults are those of the table, since all may be left out."""
    assert get_type_hints(AnalysisOptions) == get_type_hints(Options)
    assert list(AnalysisOptions.__annotations__) == [field.name for field in dataclasses.fields(Options)]
    assert AnalysisOptions.__required_keys__ == frozenset()
    for function in (analyze_many, track, AffinityCallback.__init__):
        own = dict(inspect.signature(function).parameters)
        assert own.pop("options").annotation == "Unpack[AnalysisOptions]"
        assert not own.keys() & AnalysisOptions.__annotations__.keys()


def test_analyze_is_annotated_like_the_table():
    hints = inspect.get_annotations(analyze)
    table = inspect.get_annotations(Options)
    assert {name: hints[name] for name in table} == table


def test_values_are_checked_against_every_form_of_annotation():
    """The forms that the options have; a new one has to be added here and where values are checked."""
    kinds = {type(None), bool, int, float, str, Path}
    for kind in get_type_hints(Options).values():
        members = getattr(kind, "__args__", (kind,))
        for member in members:
            origin = getattr(member, "__origin__", member)
            known = member in kinds or origin in (Literal, Callable) or isinstance(member, str)
            assert known or kind == Sequence[str]


def test_the_docstring_of_analyze_explains_every_option():
    for field in dataclasses.fields(Options):
        assert f"        {field.name}: " in analyze.__doc__


def test_the_command_line_has_exactly_the_options_and_their_defaults():
    arguments = vars(parser().parse_args(["analyze", "model", "--dataset", "noise"]))
    assert {field.name: arguments[field.name] for field in dataclasses.fields(Options)} == dataclasses.asdict(
        Options()
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"num_samples": 1}, "num_samples is 1; expected 'all', or a whole number of at least 2"),
        ({"num_samples": 64.0}, "num_samples is 64.0; expected 'all', or a whole number of at least 2"),
        ({"num_samples": "ALL"}, "num_samples is 'ALL'; expected 'all', or a whole number of at least 2"),
        ({"device": "cpu", "device_map": "auto"}, "device is 'cpu'; expected None beside device_map"),
        ({"batch_size": 0}, "batch_size is 0; expected a positive number"),
        ({"regularization": -1.0}, "regularization is -1.0; expected a finite number"),
        ({"regularization": float("nan")}, "regularization is nan"),
        ({"pooling": "max"}, "pooling is 'max'; expected one of paper"),
        ({"dtype": "int8"}, "dtype is 'int8'; expected one of float32"),
        ({"batch_size": 2.5}, "batch_size is 2.5; expected a whole number or None"),
        ({"group_size": "8"}, "group_size is '8'; expected a whole number"),
        ({"num_groups": True}, "num_groups is True; expected a whole number"),
        ({"num_groups": 2, "num_samples": "all"}, "num_groups is 2; expected 1 beside num_samples='all'"),
        ({"max_images": "9"}, "max_images is '9'; expected a whole number or None"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"seed": None}, "seed is None; expected a whole number"),
        ({"shuffle": "no"}, "shuffle is 'no'; expected bool"),
        ({"loader": 5}, "loader is 5; expected str or a function or None"),
        ({"split": 5}, "split is 5; expected str or None"),
        ({"memory_limit": "4"}, "memory_limit is '4'; expected a number"),
        ({"device_memory_limit": -1}, "device_memory_limit is -1; expected a number of gigabytes, or 0"),
        ({"include": [1]}, "include is [1]; expected a list of patterns".replace("[", "\\[")),
        ({"exclude": None}, "exclude is None; expected a list of patterns"),
        ({"regularization": True}, "regularization is True; expected a finite number"),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_allowed(changed, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        Options(**changed)


def test_a_misspelt_option_is_an_error():
    with pytest.raises(TypeError, match="num_sample"):
        analyze("model", "noise", num_sample=3)


def test_what_cannot_change_a_number_is_not_recorded():
    assert not {"token", "progress"} & Options(token="hf_secret").recorded().keys()


def test_numpys_numbers_are_pythons():
    options = Options(num_samples=np.int64(20), seed=np.uint8(3), regularization=np.float64(1e-3))
    assert json.loads(json.dumps(options.recorded()))["num_samples"] == 20
    assert options == Options(num_samples=20, seed=3, regularization=1e-3)


def test_the_options_that_most_people_need_come_first(capsys):
    """In the help of the command, on its page, and on the page of the Python interface."""
    common = [option.name for option in dataclasses.fields(Options) if option.metadata["common"]]
    assert len(common) == 5
    section = (ROOT / "docs" / "api.md").read_text().split("## Options")[1].split("```")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == common
    flags = ["--" + name.replace("_", "-") for name in common]
    with pytest.raises(SystemExit):
        main(["analyze", "--help"])
    for text, first, then in (
        (capsys.readouterr().out, "options that most people need:", "further options:"),
        (
            command_line.page().split("## hf-affscore demo")[0],
            "Options that most people need:",
            "Further options:",
        ),
    ):
        block = text.split(first)[1].split(then)[0]
        assert re.findall(r"^(?:  |\| `)(--[a-z-]+)", block, re.MULTILINE) == flags
