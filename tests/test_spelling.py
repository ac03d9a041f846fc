"""A misspelt keyword, option, command or value is answered with the one that was probably meant."""

from __future__ import annotations

import inspect

import pytest
import torch

import hf_affscore as ha
from hf_affscore.capture.selection import Selection
from hf_affscore.cli import main
from hf_affscore.comparison import compare
from hf_affscore.errors import AffscoreWarning, InputError
from hf_affscore.options import AnalysisOptions, Options
from tests.signatures import make_signature

FUNCTIONS = [getattr(ha, name) for name in ha.__all__ if name not in ("Signature", "register_activation")]
METHODS = [
    getattr(ha.Signature, name)
    for name in ("near_linear", "plot", "save_pretrained", "from_pretrained", "push_to_hub")
]


def keywords(function):
    """The named keywords of a function, and those of an analysis where it passes them on."""
    parameters = inspect.signature(function).parameters.values()
    named = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name != "self"]
    passed_on = any(each.kind is each.VAR_KEYWORD for each in parameters)
    return named + list(AnalysisOptions.__annotations__) * passed_on


@pytest.mark.parametrize("function", FUNCTIONS + METHODS, ids=lambda function: function.__qualname__)
def test_a_misspelt_keyword_is_recognised(function):
    """In every public function and method, for every keyword with its last letter doubled."""
    for keyword in keywords(function):
        with pytest.raises(TypeError, match=rf"'{keyword}{keyword[-1]}'. Did you mean '{keyword}'\?$"):
            function(**{keyword + keyword[-1]: None})


def test_nothing_is_guessed_for_a_word_that_is_close_to_none():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'zebra'\.$"):
        ha.analyze("model", "noise", zebra=1)


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("pooling", "chanels", "channels"),
        ("dtype", "bfloat_16", "bfloat16"),
        ("num_samples", "ALL", "all"),
        ("regularization", "relativ", "relative"),
    ],
)
def test_a_misspelt_value_is_recognised(option, value, meant):
    with pytest.raises(InputError, match=rf"^{option} is '{value}'; expected .*\. Did you mean '{meant}'\?$"):
        Options(**{option: value})


def test_a_misspelt_pattern_is_recognised():
    selection = Selection(include=["softmx"])
    selection.note_module(torch.nn.Softmax(), "head.softmax")
    with pytest.raises(InputError, match=r"Did you mean 'Softmax'\?$"):
        selection.check_all_matched()


def test_a_misspelt_name_or_field_is_recognised():
    one = make_signature([0.5, 0.6, 0.7], name="net/one")
    with pytest.raises(InputError, match=r"Did you mean 'net/one'\?$"):
        compare([one]).nearest("net/ome")
    with pytest.raises(AttributeError, match=r"Did you mean 'affinity_score'\?$"):
        _ = one.rows[0].affinty_score
    with pytest.raises(AttributeError, match=r"Did you mean 'analyze'\?$"):
        _ = ha.analyse


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("analize m", "COMMAND is 'analize'; expected one of analyze, demo, "),
        ("analize m", "Did you mean 'analyze'?"),
        ("analyze m --dataset d --num_samples 3", "no option --num_samples. Did you mean '--num-samples'?"),
        ("analyze m --datset d", "missing: --dataset. Did you mean '--dataset'?"),
        ("analyze m --dataset d --pooling chanels", "none. Did you mean 'channels'?"),
        ("inspect m --num-sample=3", "there is no option --num-sample=3. Did you mean '--num-samples'?"),
        ("cache lst", "ACTION is 'lst'; expected one of ls, rm. Did you mean 'ls'?"),
        ("metric publsh", "Did you mean 'publish'?"),
        ("inspect one two", "this is one argument too many: two."),
        ("demo --zebra", "there is no option --zebra."),
        ("analyze m --dataset d --dry-run", "no option --dry-run. `hf-affscore inspect MODEL` lists what"),
        ("", "missing: COMMAND."),
    ],
)
def test_what_is_misspelt_on_the_command_line_is_recognised(typed, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        main(typed.split())
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.endswith((".\n", "?\n"))
    assert f"usage: hf-affscore {typed.split()[0] if typed and 'analize' not in typed else '['}" in said


def test_a_warning_points_to_the_line_of_the_caller():
    with pytest.warns(AffscoreWarning) as caught:
        ha.analyze(torch.nn.Sequential(torch.nn.ReLU()), list(torch.rand(4, 3, 8, 8)), num_samples=8)
    assert {warning.filename for warning in caught} == {__file__}
