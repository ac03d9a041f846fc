"""Video models on clips, in every form that a data set has them in."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, DatasetError, InputError
from tests.hub import LocalHub
from tests.models.by_hand import photographs
from tests.models.networks import FRAMES, SIZE, VISION, timesformer, videomae, vjepa2

USUAL = {"num_samples": 6, "batch_size": 4, "cache": False, "progress": False, "shuffle": False}


def clips(number: int = 6, frames: int = FRAMES) -> list[list[Image.Image]]:
    """Clips of moving pictures; those of more frames show others between the same."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (number, FRAMES, 40, 48, 3), dtype=np.uint8)
    step = (frames - 1) // (FRAMES - 1)
    longer = np.repeat(pictures, step, axis=1)[:, : frames if step > 1 else FRAMES]
    return [[Image.fromarray(frame) for frame in clip] for clip in longer]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("videomae")
    for part in videomae():
        part.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", [videomae, timesformer, vjepa2])
def test_clips_are_preprocessed_as_by_hand(kind: Callable[[], Any], tmp_path: Path) -> None:
    """Against the pixels that the processor itself makes of whole clips, as tensors."""
    torch.manual_seed(0)
    model, processor = kind()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    signature = ha.analyze(tmp_path, clips(), **USUAL)
    if isinstance(processor, hf.VJEPA2VideoProcessor):
        made = processor(videos=clips(), do_sample_frames=False, return_tensors="pt")["pixel_values_videos"]
    elif isinstance(processor, hf.VideoMAEImageProcessor):
        made = processor(clips(), return_tensors="pt")["pixel_values"]
    else:
        made = torch.stack([processor(clip, return_tensors="pt")["pixel_values"] for clip in clips()])
    by_hand = ha.analyze(type(model).from_pretrained(tmp_path), list(made), **USUAL)
    assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in by_hand.rows]
    assert len(signature.rows) >= 2
    with pytest.raises(InputError, match="is a video model: it takes clips of 4 frames"):
        ha.analyze(tmp_path, photographs(), **USUAL)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def as_arrays(_: Path) -> Any:
    return [np.stack([np.asarray(frame) for frame in clip]) for clip in clips()]


def as_paths(folder: Path) -> Any:
    as_folders(folder)
    return [[place / f"{number}.png" for number in range(8, 12)] for place in sorted(folder.iterdir())]


def as_column(_: Path) -> Any:
    features = datasets.Features(
        {"frames": datasets.List(datasets.Image()), "label": datasets.Value("int64")}
    )
    return datasets.Dataset.from_dict({"frames": clips(), "label": [0] * 6}, features)


def as_stream(folder: Path) -> Any:
    return as_column(folder).to_iterable_dataset()


def as_parquet(folder: Path) -> Any:
    as_column(folder).to_parquet(folder / "clips.parquet")
    return folder / "clips.parquet"


def as_folder_of_parquet(folder: Path) -> Any:
    return as_parquet(folder).parent


def as_splits(folder: Path) -> Any:
    return datasets.DatasetDict({"train": as_column(folder)})


def as_streamed_splits(folder: Path) -> Any:
    return datasets.IterableDatasetDict({"train": as_stream(folder)})


def as_structures(_: Path) -> Any:
    """Lists of records with an image each, beside a column of single images."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "clip": datasets.List({"image": datasets.Image(), "time": datasets.Value("float32")}),
        }
    )
    records = [[{"image": frame, "time": 0.0} for frame in clip] for clip in clips()]
    return datasets.Dataset.from_dict({"image": [clip[0] for clip in clips()], "clip": records}, features)


def as_table_of_paths(folder: Path) -> Any:
    (folder / "frames").mkdir()
    lines = []
    for number, clip in enumerate(clips()):
        names = [f"frames/{number}-{place}.png" for place in range(len(clip))]
        for name, frame in zip(names, clip, strict=True):
            frame.save(folder / name)
        lines.append(json.dumps({"label": number, "frames": names}))
    (folder / "train.jsonl").write_text("\n".join(lines))
    return folder / "train.jsonl"


def as_examples(_: Path) -> Any:
    """As a data set of torch gives them, one after the other."""
    return ({"frames": clip, "label": 0} for clip in clips())


def as_folders(folder: Path) -> Any:
    for number, clip in enumerate(clips()):
        (folder / f"clip{number}").mkdir()
        for place, frame in enumerate(clip):
            frame.save(folder / f"clip{number}" / f"{place + 8}.png")  # 10 comes after 9
    return folder


def as_decoders(_: Path) -> Any:
    """As ``datasets.Video`` gives them where torchcodec is installed."""

    def decoder(clip: list[Image.Image]) -> Any:
        frames = torch.from_numpy(np.stack([np.asarray(frame) for frame in clip])).permute(0, 3, 1, 2)
        get = lambda numbers: SimpleNamespace(data=frames[numbers])  # noqa: E731
        return SimpleNamespace(metadata=SimpleNamespace(num_frames=len(clip)), get_frames_at=get)

    return list(map(decoder, clips()))


def as_longer_clips(_: Path) -> Any:
    return clips(frames=10)


OF_FILES = [as_parquet, as_folder_of_parquet, as_table_of_paths]
FORMS = [
    *(as_arrays, as_paths, as_column, as_stream, as_folders, as_decoders, as_longer_clips),
    *(as_splits, as_streamed_splits, as_structures, as_examples, *OF_FILES),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_data_set_has_clips(form: Callable[[Path], Any], net: Path, tmp_path: Path) -> None:
    expected = ha.analyze(net, clips(), **USUAL)
    with_none = ha.analyze(net, form(tmp_path), **USUAL)
    assert [row.affinity_score for row in with_none.rows] == [row.affinity_score for row in expected.rows]
    assert with_none.metadata["dataset"]["num_samples"] == 6


@pytest.mark.parametrize(
    ("form", "name"), [(as_parquet, "ada/clips"), (as_table_of_paths, "hf://datasets/ada/clips/train.jsonl")]
)
def test_a_data_set_on_the_hub_has_clips(
    form: Callable[[Path], Path], name: str, net: Path, hub: LocalHub, tmp_path: Path
) -> None:
    """Frames are in a table, or in files of their own, which are fetched."""
    expected = ha.analyze(net, clips(), **USUAL)
    hub.add("dataset", "ada/clips", form(tmp_path).parent)
    signature = ha.analyze(net, name, **USUAL)
    assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in expected.rows]
    assert signature.metadata["dataset"]["num_samples"] == 6


def test_the_split_of_a_folder_of_clips_and_the_cache(net: Path, tmp_path: Path) -> None:
    (tmp_path / "clips" / "val").mkdir(parents=True)
    as_folders(tmp_path / "clips" / "val")
    usual = {**USUAL, "cache": True}
    signature = ha.analyze(net, tmp_path / "clips", split="val", **usual)
    assert signature.metadata["dataset"]["split"] == "val"
    again = ha.analyze(net, tmp_path / "clips", split="val", **usual)
    assert again.rows == signature.rows


def test_short_and_damaged_clips_cost_one_each(net: Path) -> None:
    damaged = [png(frame) for frame in clips(1)[0]]
    damaged[2] = damaged[2][:60]
    data = [clips()[0][:3], *clips(), damaged]
    with pytest.warns(AffscoreWarning):
        dataset = ha.analyze(net, data, **USUAL).metadata["dataset"]
    assert dataset["num_samples"] == 6
    assert dataset["undecodable_reasons"] == ["image 0: a clip of 3 frames; the model takes 4"]
    whole = ha.analyze(net, data, **{**USUAL, "num_samples": "all", "group_size": 6}).metadata["dataset"]
    assert [reason.split(":")[0] for reason in whole["undecodable_reasons"]] == ["image 0", "image 7"]


def test_an_image_model_takes_no_clips(tmp_path: Path) -> None:
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    hf.ViTImageProcessor(size=SIZE).save_pretrained(tmp_path)
    with pytest.warns(AffscoreWarning, match="holds lists of images: the first of each is used"):
        ha.analyze(tmp_path, as_column(tmp_path), **USUAL)


def videos(folder: Path) -> Path:
    import av

    for number, clip in enumerate(clips(frames=10)):
        with av.open(str(folder / f"{number}.mkv"), "w") as file:
            stream = file.add_stream("ffv1", rate=10)  # without loss
            stream.width, stream.height, stream.pix_fmt = 48, 40, "bgr0"
            for frame in clip:
                file.mux(stream.encode(av.VideoFrame.from_image(frame)))
            file.mux(stream.encode())
    return folder


@pytest.mark.library("av")
def test_video_files(net: Path, tmp_path: Path) -> None:
    """Of a lossless format: in a folder, in a column of files, and in one of their bytes."""
    expected = ha.analyze(net, clips(), **USUAL)
    folder = videos(tmp_path)
    files = sorted(map(str, folder.glob("*.mkv")))
    features = datasets.Features({"video": datasets.Video()})
    stored = [{"bytes": Path(file).read_bytes(), "path": None} for file in files]
    forms: list[Any] = [folder]
    forms += [datasets.Dataset.from_dict({"video": values}, features) for values in (files, stored)]
    for form in forms:
        signature = ha.analyze(net, form, **USUAL)
        assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in expected.rows]


def test_video_files_without_pyav(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    features = datasets.Features({"video": datasets.Video()})
    column = datasets.Dataset.from_dict({"video": [str(tmp_path / "0.mp4")] * 3}, features)
    for form in (tmp_path, column):
        with pytest.raises(
            DatasetError, match=r"holds video files, and reading them needs PyAV.*pip install av"
        ):
            ha.analyze(net, form, **USUAL)
