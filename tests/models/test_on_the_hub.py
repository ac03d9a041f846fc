"""Models and data sets that are not there, or not for everybody, over real HTTP."""

import io

import numpy as np
import pytest
from PIL import Image

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import DatasetError, ModelError
from hf_affscore.run.resume import ResumeCache


def test_an_unknown_model_is_one_sentence(hub):
    with pytest.raises(ModelError, match=r"'nobody/nothing' was not found.*(?i:check the spelling)"):
        ha.analyze("nobody/nothing", "noise")


def test_an_unknown_data_set_is_one_sentence(hub):
    with pytest.raises(DatasetError, match=r"'nobody/nothing' was not found.*(?i:check the spelling)"):
        ha.analyze(DEMO_MODEL, "nobody/nothing")


def test_an_unknown_revision_is_named(hub):
    hub.add("model", "ada/net", {"config.json": b"{}"})
    with pytest.raises(ModelError, match=r"ada/net.*no revision 'v9'"):
        ha.analyze("ada/net", DEMO_DATASET, revision="v9")


def noise_image(seed, form):
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "read_again"), [("jpeg", 0), ("png", 16)])
def test_files_on_the_hub_give_what_a_folder_gives_and_are_not_read_again(
    form, read_again, hub, tmp_path, monkeypatch
):
    """Interrupted when all images had been through the model, an analysis goes on without reading one of them.

    The first of a format that may have more than 8 bits are read once more: their range is part of what they are.
    """
    (tmp_path / "test").mkdir()
    files = {f"test/{number:02}.{form}": noise_image(number, form) for number in range(20)}
    files[f"test/07.{form}"] = b"none"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    hub.add("dataset", "ada/files", files)
    options = {"num_samples": 16, "shuffle": False, "batch_size": 5}
    here = ha.analyze(DEMO_MODEL, tmp_path, **options, cache=False)
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patched:
        patched.setattr(ResumeCache, "save_layer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ha.analyze(DEMO_MODEL, "ada/files", **options)
    hub.log.clear()
    there = ha.analyze(DEMO_MODEL, "ada/files", **options)
    assert len({line.path for line in hub.log if line.path.endswith(f".{form}")}) == read_again
    assert there.rows == here.rows
    assert there.metadata["dataset"]["undecodable_reasons"] == [
        f"image 7: cannot identify image file (07.{form})"
    ]


def interrupted(*_):
    raise KeyboardInterrupt
