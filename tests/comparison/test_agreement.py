import dataclasses

import pytest

from hf_affscore.comparison import compare
from hf_affscore.errors import InputError
from hf_affscore.options import Options
from tests.signatures import make_signature

MADE = {
    "dataset": {"id": "imagenet-1k", "split": "validation", "revision": "abc", "num_samples": 512},
    "options": Options().recorded(),
    "numbers_version": 1,
}


def made(name, **changes):
    """A signature made with ``changes``, written as ``section__key=value``."""
    metadata = {
        "model": {"id": name},
        **{key: dict(v) if isinstance(v, dict) else v for key, v in MADE.items()},
    }
    for key, value in changes.items():
        section, _, field = key.partition("__")
        if field:
            metadata[section][field] = value
        else:
            metadata[section] = value
    return dataclasses.replace(make_signature([0.5, 0.6]), metadata=metadata)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset__id": "cifar10"}, "dataset.id is 'imagenet-1k' in a but 'cifar10' in b"),
        ({"dataset__revision": "def"}, "dataset.revision is 'abc' in a but 'def' in b"),
        ({"dataset__num_samples": 2048}, "dataset.num_samples is 512 in a but 2048 in b"),
        ({"options__pooling": "flatten"}, "options.pooling is 'paper' in a but 'flatten' in b"),
        ({"options__regularization": 1e-9}, "options.regularization is 1e-06 in a but 1e-09 in b"),
        ({"options__seed": 1}, "options.seed is 0 in a but 1 in b"),
        ({"options__dtype": "float16"}, "options.dtype is 'float32' in a but 'float16' in b"),
        ({"options__tomorrows": 3}, "options.tomorrows is not recorded in a but 3 in b"),
        ({"options__num_samples": "all"}, "options.num_samples is 'a number' in a but 'all' in b"),
        ({"numbers_version": 2}, "numbers_version is 1 in a but 2 in b"),
    ],
)
def test_what_changes_a_number_has_to_agree(change, said):
    pair = [made("a"), made("b", **change)]
    with pytest.raises(InputError, match="allow_differences=True") as error:
        compare(pair)
    assert said in str(error.value)
    assert compare(pair, allow_differences=True).differences == (said,)


@pytest.mark.parametrize(
    "change",
    [
        {"options__revision": "v2"},
        {"options__batch_size": 4},
        {"options__device": "cuda"},
        {"options__split": "validation"},  # asked for by name, or found: the same images
        {"options__num_samples": 512},  # likewise
        {"environment": {"torch": "3.0"}},
    ],
)
def test_what_belongs_to_the_network_or_the_machine_may_differ(change):
    assert compare([made("a"), made("b", **change)]).differences == ()


def test_every_difference_is_said_at_once_and_many_names_are_counted():
    same = [made(f"net{i}") for i in range(5)]
    other = made("b", dataset__split="train", numbers_version=2)
    with pytest.raises(InputError) as error:
        compare([*same, other])
    assert "dataset.split is 'validation' in net0, net1, net2 and 2 more but 'train' in b" in str(error.value)
    assert "numbers_version is 1" in str(error.value)
