"""Buckets of the Hub: the same images as in a folder, and a state that changes with the files."""

import numpy as np
import pytest

from hf_affscore.errors import DatasetError
from hf_affscore.images.identity import identity
from hf_affscore.images.open import locate_images
from hf_affscore.options import Options
from tests.images.test_layouts import colours_of, make, numbered
from tests.images.test_tables import colours, png, write
from tests.versions import needs

pytestmark = needs("huggingface-hub", "1.5", "it knows no buckets")


@pytest.mark.parametrize("inside", ["", "data/deep"])
@pytest.mark.parametrize("form", ["images", "parquet", "tar"])
def test_a_bucket_is_read_like_a_folder(form, inside, tmp_path, hub):
    place = tmp_path / inside
    place.mkdir(parents=True, exist_ok=True)
    if form == "images":
        make(place, *numbered("train", 7), *numbered("train_masks", 7))
        expected = [value for name, value in sorted(make(place, *numbered("test", 5)).items())]
    else:
        write(place / f"train.{form}", range(7))
        write(place / f"test.{form}", range(5))
        expected = colours(range(5))
    hub.add("bucket", "ada/store", tmp_path)
    assert colours_of(f"hf://buckets/ada/store/{inside}") == expected
    order = np.random.default_rng(2).permutation(5)
    assert colours_of(f"hf://buckets/ada/store/{inside}", shuffle=True, seed=2) == [
        expected[n] for n in order
    ]


def test_the_state_of_a_bucket_changes_with_its_files(tmp_path, hub):
    name, states = "hf://buckets/ada/store", []
    for number in (1, 1, 2):
        hub.add("bucket", "ada/store", {"a.png": png(number), "b.png": png(0)})
        states.append(locate_images(name, Options()).state)
        if number == 1:
            hub.reset()
    assert states[0] != states[2]
    assert locate_images(f"{name}/", Options()).location == name
    assert identity({"path": f"{name}/a.png", "bytes": None}) is None  # the file may change


def test_a_private_bucket_needs_its_token(hub):
    hub.add("bucket", "ada/store", {"a.png": png(1), "b.png": png(2)}, private=True)
    assert colours_of("hf://buckets/ada/store", token=hub.token("ada")) == colours([1, 2])
    for token in (hub.token("bob"), None):
        with pytest.raises(
            DatasetError, match="The bucket 'ada/store' was not found, or the token may not read it"
        ):
            colours_of("hf://buckets/ada/store", token=token)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hf://buckets/ada", "names no bucket; expected hf://buckets/user/bucket/folder"),
        ("hf://buckets/", "names no bucket; expected hf://buckets/user/bucket/folder"),
        ("hf://buckets/ada/none", "The bucket 'ada/none' was not found, or the token may not read it"),
        ("hf://buckets/ada/store/none", "The bucket 'ada/store' has no folder 'none'"),
        ("hf://buckets/ada/store/a", "The bucket 'ada/store' has no folder 'a'"),
        ("hf://buckets/ada/store/a.png", "is a file; expected a folder"),
        ("hf://buckets/ada/empty", "The bucket 'ada/empty' has no files"),
    ],
)
def test_names_of_no_bucket(name, sentence, hub):
    hub.add("bucket", "ada/store", {"a.png": png(1)})
    hub.add("bucket", "ada/empty")
    with pytest.raises(DatasetError, match=sentence) as raised:
        colours_of(name)
    assert "\n" not in str(raised.value)
