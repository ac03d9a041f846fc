"""Data sets of torch and torchvision, and other objects that give examples by number or one after the other."""

import collections
import io
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)
from torchvision.transforms import v2

import hf_affscore as ha
from hf_affscore.assets import DEMO_MODEL
from hf_affscore.errors import AffscoreWarning, DatasetError, InputError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.open import open_images
from hf_affscore.options import Options
from tests.images.test_layouts import said

PHOTOS = [np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8) for number in range(30)]
Pair = collections.namedtuple("Pair", "label picture")


class Numbered(Dataset):
    """Examples by number, made of an image and its number."""

    def __init__(self, make, broken=()):
        self.make, self.broken = make, broken

    def __len__(self):
        return len(PHOTOS)

    def __getitem__(self, number):
        if number in self.broken:
            raise OSError("image file is truncated")
        return self.make(Image.fromarray(PHOTOS[number]), number)


class Flowing(IterableDataset):
    """The same, one after the other."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return (self.make(Image.fromarray(pixels), number) for number, pixels in enumerate(PHOTOS))


def opened(dataset, **options):
    return open_images(dataset, Options(**options), lambda: (3, 4, 5))


def images(stream):
    found = []
    for item in stream.resumed():
        try:
            image = stream.decode(item)
            found.append(image if isinstance(image, torch.Tensor) else np.asarray(image))
        except Undecodable as error:
            found.append(str(error))
    return found


def holds(stream, expected=PHOTOS):
    found = images(stream)
    assert len(found) == len(expected)
    return all(np.array_equal(image, pixels) for image, pixels in zip(found, expected, strict=True))


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


EXAMPLES = {
    "images": lambda image, number: image,
    "tuples": lambda image, number: (image, number),
    "lists": lambda image, number: [image, number],
    "labels first": lambda image, number: (number, image),
    "with boxes": lambda image, number: (image, {"boxes": torch.zeros(2, 4), "id": number}),
    "dictionaries": lambda image, number: {"label": number, "photo": image},
    "named tuples": lambda image, number: Pair(number, image),
    "arrays": lambda image, number: (np.asarray(image), number),
    "arrays alone": lambda image, number: np.asarray(image),
    "integer tensors": lambda image, number: (v2.functional.pil_to_tensor(image), torch.tensor(number)),
    "encoded alone": lambda image, number: png(image),
    "integer tensors alone": lambda image, number: v2.functional.pil_to_tensor(image),
}


@pytest.mark.parametrize("form", EXAMPLES)
def test_examples_of_any_form_by_number(form):
    data = Numbered(EXAMPLES[form])
    found, sentences = said(lambda: holds(opened(data, shuffle=False)))
    assert found
    assert sentences == []
    order = np.random.default_rng(3).permutation(30)
    stream = opened(data, seed=3)
    assert holds(stream, [PHOTOS[number] for number in order])
    assert stream.metadata["draw"] == {"method": "uniform", "rows": 30}
    assert stream.metadata["shuffled"] is True
    assert stream.metadata["type"] == "Numbered"
    assert holds(opened(list(data), seed=3), [PHOTOS[number] for number in order])


@pytest.mark.parametrize("form", EXAMPLES)
@pytest.mark.parametrize("once", [True, False])
def test_examples_of_any_form_one_after_the_other(form, once):
    def data():
        return iter(Flowing(EXAMPLES[form])) if once else Flowing(EXAMPLES[form])

    assert holds(opened(data(), shuffle=False))
    order = np.random.default_rng(3).permutation(30)
    assert holds(opened(data(), seed=3), [PHOTOS[number] for number in order])


class Unmeasured(Dataset):
    """A data set of torch that does not know its length."""

    def __getitem__(self, number):
        return Image.fromarray(PHOTOS[number]), number


@pytest.mark.parametrize("data", [Unmeasured(), ChainDataset([Flowing(EXAMPLES["tuples"])])])
def test_data_sets_of_unknown_length(data):
    assert holds(opened(data, shuffle=False))
    order = np.random.default_rng(3).permutation(30)
    assert holds(opened(data, seed=3), [PHOTOS[number] for number in order])


def test_clips_with_labels_are_ready():
    clips = torch.randn(5, 3, 2, 8, 8)
    assert all(map(torch.equal, images(opened(TensorDataset(clips, torch.arange(5)), shuffle=False)), clips))


@pytest.mark.parametrize("form", [iter, np.array, pd.Series], ids=lambda form: form.__name__)
@pytest.mark.parametrize("kind", [str, Path])
def test_paths_of_any_form(form, kind, tmp_path):
    for number, pixels in enumerate(PHOTOS):
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    names = [kind(tmp_path / f"{number:02}.png") for number in range(len(PHOTOS))]
    assert holds(opened(form(names), shuffle=False))
    assert images(opened(form([kind("gone.png")])))[0].endswith("No such file or directory: 'gone.png'")


@pytest.mark.parametrize("form", [pd.DataFrame, pyarrow.table])
def test_tables_in_memory(form):
    table = form({"label": range(30), "image": [png(Image.fromarray(pixels)) for pixels in PHOTOS]})
    assert holds(opened(table, shuffle=False))
    stream = opened(table, seed=3, image_column="image")
    assert holds(stream, [PHOTOS[number] for number in np.random.default_rng(3).permutation(30)])
    with pytest.raises(DatasetError, match="the columns are label"):
        opened(form({"label": [1, 2]}))


def test_a_data_frame_of_any_values():
    photos = [Image.fromarray(pixels) for pixels in PHOTOS]
    for values in (photos, list(map(png, photos)), [{"bytes": png(photo), "path": None} for photo in photos]):
        frame = pd.DataFrame({"label": range(30), "photo": values})
        assert holds(opened(frame.iloc[20:3:-2], shuffle=False), PHOTOS[20:3:-2])
        assert holds(opened(frame.photo[3:], shuffle=False), PHOTOS[3:])
    frame.loc[3, "photo"] = float("nan")
    assert images(opened(frame, shuffle=False))[3] == "the image is missing"


def test_data_sets_of_torchvision(tmp_path):
    for number, pixels in enumerate(PHOTOS[:6]):
        (tmp_path / f"class{number % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"class{number % 2}" / f"{number}.png")
    folder = torchvision.datasets.ImageFolder(tmp_path)
    expected = [PHOTOS[number] for number in (0, 2, 4, 1, 3, 5)]
    assert holds(opened(folder, shuffle=False), expected)
    assert holds(opened(Subset(folder, [3, 0]), shuffle=False), [expected[3], expected[0]])
    assert holds(opened(ConcatDataset([folder, folder]), shuffle=False), expected * 2)
    fake = torchvision.datasets.FakeData(size=5, image_size=(3, 20, 24))
    assert len(images(opened(fake))) == 5


def test_a_loader_stands_for_its_data_set():
    loader = DataLoader(Numbered(EXAMPLES["tuples"]), batch_size=4, collate_fn=list)
    with pytest.warns(AffscoreWarning, match="drawn from the Numbered of the DataLoader: its batches"):
        stream = opened(loader, shuffle=False)
    assert holds(stream)


NORMALISED = v2.Normalize([0.5] * 3, [0.25] * 3)
TO_TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
TENSORS = {
    "tuples": lambda tensors: TensorDataset(tensors, torch.arange(len(tensors))),
    "a list": list,
    "one after the other": iter,
    "arrays": lambda tensors: list(tensors.numpy()),
    "a column": lambda tensors: datasets.Dataset.from_dict({"pixel_values": tensors.tolist()}),
    "a transform": lambda tensors: datasets.Dataset.from_dict({"number": range(len(tensors))}).with_transform(
        lambda batch: {"pixel_values": [tensors[number] for number in batch["number"]]}
    ),
}


@pytest.mark.parametrize("form", TENSORS)
@pytest.mark.parametrize(
    ("transform", "negative"),
    [
        (TO_TENSOR, False),
        ([v2.ToImage(), v2.ToDtype(torch.float32)], False),
        ([*TO_TENSOR, NORMALISED], True),
    ],
    ids=["0 to 1", "0 to 255", "normalised"],
)
def test_tensors_are_ready_and_a_warning_if_they_are_not_normalised(form, transform, negative):
    made = v2.Compose(transform)
    tensors = torch.stack([made(Image.fromarray(pixels)) for pixels in PHOTOS])
    stream = opened(TENSORS[form](tensors), shuffle=False)
    found, sentences = said(lambda: images(stream))
    assert all(map(torch.equal, found, tensors))
    assert stream.metadata["ready_tensors"] is True
    assert [sentence for sentence in sentences if "without negative values" in sentence] == sentences
    assert bool(sentences) != negative


def test_what_preprocesses_ready_tensors_is_not_said_to():
    ready = list(torch.randn(8, 3, 8, 8))
    with pytest.warns(AffscoreWarning, match="The processor is not used: the data set gives ready tensors"):
        found = ha.analyze(torch.nn.ReLU(), ready, num_samples=8, processor=v2.PILToTensor())
    assert found.metadata["preprocessing"]["applied"] is False
    photos = list(map(Image.fromarray, PHOTOS))
    assert ha.analyze(DEMO_MODEL, photos, num_samples=8).metadata["preprocessing"]["applied"] is True


def test_a_stack_of_images():
    assert holds(opened(np.stack(PHOTOS), shuffle=False))
    ready = torch.randn(5, 3, 8, 8)
    assert all(map(torch.equal, images(opened(ready, shuffle=False)), ready))
    pair = TensorDataset(ready, torch.arange(5))
    assert all(map(torch.equal, images(opened(pair, shuffle=False)), ready))


def test_an_example_that_fails_costs_one_image():
    for form in ("tuples", "images", "dictionaries"):
        found = images(opened(Numbered(EXAMPLES[form], broken=(0, 7)), shuffle=False))
        assert found[7] == "example 7 could not be read: OSError: image file is truncated"
        assert sum(isinstance(image, str) for image in found) == 2
    with pytest.raises(DatasetError, match="gave none of its first examples: OSError"):
        opened(Numbered(EXAMPLES["tuples"], broken=range(30)))


def test_of_several_images_one_is_chosen():
    data = Numbered(lambda image, number: (image, Image.new("L", image.size)))
    with pytest.warns(AffscoreWarning, match="hold images: 0, 1. 0 is used"):
        assert holds(opened(data, shuffle=False))
    pairs = Numbered(lambda image, number: {"before": Image.new("L", image.size), "after": image})
    with pytest.raises(DatasetError, match="hold images: before, after"):
        opened(pairs)
    assert holds(opened(pairs, shuffle=False, image_column="after"))


def test_what_has_no_images_says_so():
    with pytest.raises(DatasetError, match="No column holds images; the columns are 0, 1"):
        opened(Numbered(lambda image, number: ("text", number)))
    with pytest.raises(InputError, match="image_column"):
        opened(Numbered(EXAMPLES["images"]), image_column="image")
    with pytest.raises(InputError, match="split"):
        opened(Numbered(EXAMPLES["images"]), split="test")


def test_an_analysis_of_a_torch_data_set_is_that_of_its_images():
    of_images = ha.analyze(DEMO_MODEL, [Image.fromarray(pixels) for pixels in PHOTOS], num_samples=20)
    for form in ("tuples", "dictionaries", "integer tensors"):
        of_data = ha.analyze(DEMO_MODEL, Numbered(EXAMPLES[form]), num_samples=20)
        assert [row.affinity_score for row in of_data.rows] == [row.affinity_score for row in of_images.rows]
