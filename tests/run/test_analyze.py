"""One model, one set of images, one signature: what comes out, and what happens when something is wrong."""

import copy
import re
import shutil
import threading
import warnings
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoImageProcessor

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.capture import CallSite
from hf_affscore.capture.features import Features, SiteFeatures
from hf_affscore.capture.summary import Summary
from hf_affscore.errors import AffscoreWarning, DatasetError, InputError, ModelError, NoActivationError
from hf_affscore.images.decoding import Undecodable, decode, to_rgb
from hf_affscore.models.preprocessing import ImageNetTransform
from tests.versions import is_older, needs


class Small(nn.Module):
    """A module reused, a function, a method and an in-place call."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 6, 3)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.act(self.first(x))
        x = self.act(self.second(x))
        x = F.gelu(x)
        return self.head(x.mean((2, 3))).tanh()


def images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, 3, 10, 10, generator=generator))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small()


@pytest.fixture(scope="module")
def demo():
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=128)


# what comes out


def test_every_call_is_a_row_in_execution_order(small):
    sig = ha.analyze(small, images(32), num_samples=32)
    assert [(r.index, r.module, r.activation, r.call, r.kind, r.dim) for r in sig.rows] == [
        (0, "act", "ReLU", 0, "module", 6),
        (1, "act", "ReLU", 1, "module", 6),
        (2, "(model)", "gelu", 0, "function", 6),
        (3, "(model)", "tanh", 0, "function", 4),
    ]
    assert {r.num_samples for r in sig.rows} == {32}
    assert sig.scores.dtype == np.float64


def test_the_scores_are_those_of_the_rows_seen_by_hand(small):
    """An independent road: the network unrolled, pooled and scored without capture, batches or streams."""
    x = torch.stack(images(40))
    with torch.no_grad():
        pre = [small.first(x)]
        post = [pre[0].relu()]
        pre.append(small.second(post[0]))
        post.append(pre[1].relu())
        pre.append(post[1])
        post.append(F.gelu(pre[2]))
        pre.append(small.head(post[2].mean((2, 3))))
        post.append(pre[3].tanh())
    sig = ha.analyze(small, images(40), num_samples=40, shuffle=False)
    for row, before, after in zip(sig.rows, pre, post, strict=True):
        rows = [t.mean((2, 3)) if t.ndim == 4 else t for t in (before, after)]
        assert row.affinity_score == pytest.approx(ha.affinity_score(*rows), abs=1e-5)
        assert row.affinity_score_shrunk == pytest.approx(ha.affinity_score(*rows, shrinkage=True), abs=1e-5)
        assert row.norm == pytest.approx(float((rows[0] - rows[1]).norm()), rel=1e-5)
        assert row.sparsity_pre == pytest.approx(float((before.abs() <= 1e-3).double().mean()), abs=1e-6)
        assert row.sparsity_post == pytest.approx(float((after.abs() <= 1e-3).double().mean()), abs=1e-6)


def test_a_checkpoint_folder_is_analysed_with_its_own_processor(demo):
    assert len(demo.rows) == 19
    assert demo.rows[0].module == "resnet.embedder.embedder.activation"
    assert np.all((demo.scores > 0.3) & (demo.scores < 1))
    model = demo.metadata["model"]
    assert (model["id"], model["class"]) == ("digits-resnet", "ResNetForImageClassification")
    assert model["revision"].startswith("sha256:")
    assert model["accuracy"] > 0.95
    assert demo.metadata["preprocessing"]["class"] in ("ConvNextImageProcessor", "ConvNextImageProcessorFast")
    usual = "pil" if is_older("transformers", "5") else "torchvision"
    assert demo.metadata["preprocessing"]["backend"] == usual
    assert demo.metadata["preprocessing"]["settings"]["size"] == {"shortest_edge": 32}
    assert demo.metadata["dataset"]["split"] == "test"
    assert demo.metadata["options"]["num_samples"] == 128
    assert demo.metadata["options"]["batch_size"] == 8


def test_all_companion_statistics_are_in_every_row(demo):
    for name in (
        "affinity_score_shrunk",
        "identity_coupling_score",
        "cka",
        "r2",
        "r2_heldout",
        "entropy_pre",
        "entropy_post",
        "sparsity_pre",
        "sparsity_post",
        "norm",
    ):
        assert all(np.isfinite(row[name]) for row in demo.rows), name


def test_the_same_inputs_give_the_same_bits(small, demo):
    again = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=128, cache=False)
    assert again.scores.tobytes() == demo.scores.tobytes()
    assert again.rows == demo.rows


@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_the_batch_size_changes_scores_by_rounding_only(demo, batch_size):
    other = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=128, batch_size=batch_size)
    np.testing.assert_allclose(other.scores, demo.scores, rtol=0, atol=1e-5)


def test_the_draw_depends_on_the_seed(demo):
    first, other = (
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, **options)
        for options in ({"shuffle": False}, {"seed": 1})
    )
    assert first.scores.tobytes() != other.scores.tobytes()


def test_noise_goes_through_any_checkpoint(small):
    sig = ha.analyze(DEMO_MODEL, "noise", num_samples=16)
    fingerprint = sig.metadata["dataset"].pop("fingerprint")
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    assert sig.metadata["dataset"] == {
        "id": "noise", "shape": [3, 32, 32], "num_samples": 16, "num_groups": 1, "unused": 0,
        "undecodable": 0, "undecodable_reasons": [],
    }  # fmt: skip
    bare = ha.analyze(small, "noise", num_samples=4, processor=lambda image: torch.zeros(3, 9, 9))
    assert bare.metadata["dataset"]["shape"] == [3, 9, 9]


def test_pil_images_through_a_bare_module(small):
    pictures = [Image.new("RGB", (30, 20), (value, 0, 255 - value)) for value in range(0, 250, 50)]
    with pytest.warns(AffscoreWarning, match="no image processor: images are resized to 224 x 224"):
        sig = ha.analyze(small, pictures, num_samples=5)
    assert "ImageNet" in sig.metadata["preprocessing"]["settings"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ha.analyze(small, pictures, num_samples=5, processor=_to_tensor)


def _to_tensor(image):
    return torch.from_numpy(np.asarray(image.resize((10, 10)), dtype=np.float32)).permute(2, 0, 1) / 255


def test_one_pixel_and_grey_images_go_through_a_processor():
    pictures = [Image.new(mode, (1, 1), value) for value in range(0, 250, 50) for mode in ("L", "RGB")]
    sig = ha.analyze(DEMO_MODEL, [to_rgb(p) for p in pictures], num_samples=10)
    raw = ha.analyze(DEMO_MODEL, pictures, num_samples=10)
    assert raw.scores.tobytes() == sig.scores.tobytes()


def test_metadata_names_everything_and_no_token(small):
    sig = ha.analyze(small, images(8), num_samples=8, token="hf_secret")
    assert "hf_secret" not in str(sig.metadata)
    assert sig.metadata["environment"]["versions"]["hf_affscore"] == ha.__version__
    assert sig.metadata["model"]["num_parameters"] == sum(p.numel() for p in small.parameters())


# the model and memory are left as they were


def test_modules_are_compared_by_the_names_they_were_given(tmp_path):
    """Two of one class that differ in their activations: ReLU against GELU, layer by layer."""
    torch.manual_seed(0)
    named = {
        kind.__name__.lower(): nn.Sequential(nn.Conv2d(3, 6, 3), kind(), nn.Conv2d(6, 6, 3), kind())
        for kind in (nn.ReLU, nn.GELU)
    }
    for name, network in named.items():
        made = ha.analyze(network, images(64), num_samples=64, name=name, keep_rows=tmp_path / name)
        assert made.name == ha.load_rows(tmp_path / name).signature.name == name
        assert made.metadata["model"]["class"] == "Sequential"
        made.save_pretrained(tmp_path / "signatures" / name)
    comparison = ha.compare([tmp_path / "signatures"])
    assert comparison.names == ("gelu", "relu")
    found = comparison.difference("relu", "gelu")
    assert [(row.activation, row.second_activation) for row in found.changes] == [("ReLU", "GELU")] * 2
    assert "A  relu\nB  gelu\n" in str(found)


def test_a_name_is_a_text_and_for_modules_only(small):
    with pytest.raises(InputError, match="name is 3; expected a text such as 'resnet-gelu', or None"):
        ha.analyze(small, images(8), name=3)
    with pytest.raises(InputError, match="known by its own name"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=8, name="other")


def test_a_module_is_given_back_as_it_was(small):
    small.act.eval()
    before = copy.deepcopy(small.state_dict())
    flags = [part.training for part in small.modules()]
    ha.analyze(small, images(8), num_samples=8)
    assert [part.training for part in small.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in small.modules())


def test_images_are_let_go_batch_by_batch(small):
    """At most two batches of images are alive at any time, however long the data set is that is not shuffled."""
    alive = weakref.WeakSet()
    most = 0

    def stream():
        nonlocal most
        for seed in range(200):
            image = torch.randn(3, 10, 10, generator=torch.Generator().manual_seed(seed))
            alive.add(image)
            most = max(most, len(alive))
            yield image

    ha.analyze(small, stream(), num_samples=200, batch_size=4, shuffle=False)
    assert most <= 8


# what can be wrong


def test_where_no_image_can_be_decoded_the_reason_is_said(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"broken")
    with pytest.raises(
        DatasetError, match=r"gave 0 usable.*3 more.*such as image 0: cannot identify image file \(a.png\)"
    ):
        ha.analyze(DEMO_MODEL, tmp_path, num_samples=2, shuffle=False)


def test_undecodable_images_are_replaced_counted_and_named(tmp_path):
    for index in range(12):
        Image.new("RGB", (8, 8), (index * 20, 0, 0)).save(tmp_path / f"{index:02}.png")
    good = ha.analyze(DEMO_MODEL, tmp_path, num_samples=12, batch_size=4, shuffle=False)
    (tmp_path / "02a.png").write_bytes(b"broken")
    with pytest.warns(AffscoreWarning, match="1 image.* could not be decoded and were replaced"):
        sig = ha.analyze(DEMO_MODEL, tmp_path, num_samples=12, batch_size=4, shuffle=False)
    assert sig.metadata["dataset"]["num_samples"] == 12
    assert sig.metadata["dataset"]["undecodable"] == 1
    assert sig.metadata["dataset"]["undecodable_reasons"] == ["image 3: cannot identify image file (02a.png)"]
    np.testing.assert_allclose(sig.scores, good.scores, atol=1e-5)


def test_reasons_have_the_order_of_the_images_and_no_folder_of_this_machine(tmp_path):
    for index in range(12):
        Image.effect_noise((32, 32), 64).save(tmp_path / f"{index:02}.png")
    for index in (2, 10):
        path = tmp_path / f"{index:02}.png"
        path.write_bytes(path.read_bytes()[: 300 if index == 2 else 8])
    with pytest.warns(AffscoreWarning, match="2 image.* could not be decoded and were left out"):
        sig = ha.analyze(DEMO_MODEL, tmp_path, num_samples="all", shuffle=False, cache=False)
    truncated, cut = sig.metadata["dataset"]["undecodable_reasons"]
    assert truncated.startswith("image 2: ")
    assert cut == "image 10: cannot identify image file (10.png)"
    assert "02.png" in truncated
    assert str(tmp_path) not in str(sig.metadata)
    with pytest.raises(Undecodable, match=r"^cannot identify image file$"):  # not where it lay in memory
        decode(b"broken")


def test_a_limit_on_images_is_named_where_it_is_the_reason(small):
    with pytest.warns(AffscoreWarning, match="With max_images = 5 the data set has 5 usable images, fewer"):
        ha.analyze(small, images(9), max_images=5)
    with pytest.raises(DatasetError, match=r"has 512 images; test\[600:700\] begins after the last"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, split="test[600:700]", cache=False)


def test_fewer_images_than_asked_for_go_on_with_a_warning(small):
    with pytest.warns(AffscoreWarning, match="has 5 usable images, fewer than num_samples = 2048"):
        sig = ha.analyze(small, images(5))
    assert {row.num_samples for row in sig.rows} == {5}


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_images_are_an_error(small, count):
    with pytest.raises(DatasetError, match=f"gave {count} usable image.*at least 2"):
        ha.analyze(small, images(count))


NOTHING = "name what to score with include= (--include), or make a function of your own known with "


@pytest.mark.parametrize(
    ("last", "found"),
    [
        (nn.Identity(), "No activation was found in Sequential"),
        (
            nn.Softmax(-1),
            "No activation of Sequential can be scored (1 x Softmax, softmax mixes the entries of a row and is no "
            "element-wise activation)",
        ),
    ],
)
def test_a_model_without_activation_says_what_to_do_in_one_sentence(last, found):
    network = nn.Sequential(nn.Flatten(), nn.Linear(300, 2), last)
    sentence = f"{found}: {NOTHING}hf_affscore.register_activation."
    for run in (
        lambda: ha.analyze(network, images(4), num_samples=4),
        lambda: ha.track(network, images(4), num_samples=4)(0),
    ):
        with pytest.raises(NoActivationError) as raised:
            run()
        assert str(raised.value).removeprefix("At step 0: ") == sentence
    if isinstance(last, nn.Softmax):  # inspect lists what was left out, and says the same below
        assert ha.inspect(network, inputs=torch.randn(2, 3, 10, 10)).verdict == (sentence,)


def test_nan_in_one_activation_leaves_the_others_alone(small):
    class Broken(Small):
        def forward(self, x):
            logits = super().forward(x)
            return (logits.log() * 0).sigmoid()

    broken = Broken()
    broken.load_state_dict(small.state_dict())
    good, sig = (ha.analyze(model, images(16), num_samples=16) for model in (small, broken))
    assert np.isnan(sig.scores[-1])
    assert "NaN" in sig.rows[-1].reason
    assert sig.scores[:-1].tobytes() == good.scores.tobytes()
    assert sig.summary()["undefined"] == 1


def test_a_constant_output_is_flagged(small):
    with torch.no_grad():
        small.first.bias.fill_(-100.0)
    sig = ha.analyze(small, images(8), num_samples=8)
    assert sig.rows[0].reason == "constant output"
    assert sig.rows[0].affinity_score == 1


def test_an_activation_that_some_images_pass_by_is_skipped_with_its_reason(small):
    class Branching(Small):
        def forward(self, x):
            out = super().forward(x)
            return out.sigmoid() if x.mean() > 10 else out

    shifted = [*images(8), *(image + 20 for image in images(8))]
    sig = ha.analyze(Branching(), shifted, num_samples=16, batch_size=8, shuffle=False)
    assert [(r.activation, r.reason) for r in sig.skipped] == [
        ("sigmoid", "it ran in 1 of 2 batches only: the path depends on the image")
    ]


def test_a_model_that_fails_says_on_what(small):
    # The first batch goes in two of different sizes, and the first of them is what it failed on.
    with pytest.raises(ModelError, match=r"Small failed on a batch with pixel_values \(4, 3, 2, 2\)"):
        ha.analyze(small, [torch.zeros(3, 2, 2)] * 4, num_samples=4)


@pytest.mark.parametrize("parts", [1, 2])
def test_batches_of_a_loader_say_so(small, parts):
    loader = DataLoader(TensorDataset(*[torch.randn(16, 3, 8, 8)] * parts), batch_size=4)
    with pytest.raises(
        ModelError, match=r"a batch or a clip; expected one image, as of \(image for batch in"
    ):
        ha.analyze(small, (tuple(batch) if parts == 2 else batch[0] for batch in loader), num_samples=4)


def test_tensors_of_different_sizes_say_so(small):
    with pytest.raises(InputError, match=r"shapes \[\(3, 8, 8\), \(3, 9, 9\)\]"):
        ha.analyze(small, [torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)], num_samples=2)


@pytest.mark.parametrize("model", [3, None, nn.ReLU])
def test_what_is_no_model(model):
    with pytest.raises(InputError, match=r"expected a Hub id, a local folder or a torch\.nn\.Module"):
        ha.analyze(model, "noise")


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(ModelError, match=f"{tmp_path.name}.* belongs to no known library"):
        ha.analyze(tmp_path, "noise")


class Failing(nn.Module):
    """Raises what it was told to."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize(
    "error", [AssertionError(), ZeroDivisionError("zero"), OSError("disk"), Exception("x")]
)
def test_whatever_a_model_raises_is_a_model_error_and_stops_no_other_model(error):
    images = [torch.rand(3, 16, 16) for _ in range(8)]
    failed, done = ha.analyze_many([Failing(error), Small()], images, num_samples=8)
    assert failed.error.startswith(
        f"Failing failed on a batch with pixel_values (8, 3, 16, 16): {error or 'Ass'}"
    )
    assert done.signature is not None


def test_whatever_a_processor_raises_is_a_sentence():
    images = [Image.new("RGB", (20, 10))] * 3
    with pytest.raises(InputError, match=r"failed on images of sizes \[\(20, 10\)\]: ZeroDivisionError"):
        ha.analyze(Small(), images, processor=lambda image: 1 / 0, num_samples=3)


def test_images_and_tensors_are_not_mixed():
    mixed = [Image.new("RGB", (16, 16)), torch.rand(3, 16, 16)]
    with pytest.raises(InputError, match="mixes images, tensors or clips"):
        ha.analyze(Small(), mixed, num_samples=2, shuffle=False)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.complex64])
def test_a_quantised_parameter_does_not_round_the_images(dtype):
    images = [torch.rand(3, 8, 8) for _ in range(16)]
    model = nn.ReLU()
    expected = ha.analyze(model, images, num_samples=16).scores
    model.register_parameter("weight", nn.Parameter(torch.zeros(2).to(dtype), requires_grad=False))
    np.testing.assert_array_equal(ha.analyze(model, images, num_samples=16).scores, expected)


class Caching(nn.Module):
    """Makes a tensor in its first forward pass and keeps it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.cached = None

    def forward(self, x):
        if self.cached is None:
            self.cached = torch.arange(8.0)
        return torch.relu(x - self.weight * self.cached)


def test_what_a_model_caches_can_still_be_trained_with():
    model = Caching()
    ha.analyze(model, [torch.rand(3, 8, 8) for _ in range(4)], num_samples=4)
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    assert model.weight.grad is not None


def test_random_weights_need_a_checkpoint_by_name():
    with pytest.raises(InputError, match="which is analysed as it is"):
        ha.analyze(Small(), "noise", random_weights=True, num_samples=4)


@pytest.mark.parametrize("device", ["cuda:99", "junk"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(InputError, match=f"device is '{device}'; expected one that this machine has"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=4, device=device, cache=False)


def test_damaged_weights_are_a_sentence(tmp_path):
    folder = shutil.copytree(DEMO_MODEL, tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"'.*damaged' could not be loaded: .*header"):
        ha.analyze(folder, DEMO_DATASET, num_samples=4)


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-of-this-name/x"])
def test_a_path_that_cannot_be_looked_at(name):
    with pytest.raises(ModelError, match="neither a readable folder nor a Hub id"):
        ha.analyze(name, DEMO_DATASET)
    with pytest.raises(DatasetError, match="neither a readable folder nor a Hub id"):
        ha.analyze(DEMO_MODEL, name)


def test_an_empty_name_is_not_taken_for_this_folder():
    with pytest.raises(ModelError, match="The model is ''; expected a Hub id or a folder"):
        ha.analyze("", "noise")
    with pytest.raises(DatasetError, match="The dataset is ' '; expected a Hub id or a folder"):
        ha.analyze(DEMO_MODEL, " ")


def test_weights_that_the_checkpoint_lacks_are_named(tmp_path):
    folder = shutil.copytree(DEMO_MODEL, tmp_path / "partial")
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if name.endswith("convolution.weight"))
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    scores = []
    for cache in (True, True, False):  # also when it comes from the cache
        torch.rand(1)  # the caller's random numbers have no influence
        with pytest.warns(
            AffscoreWarning, match=f"partial lacks 1 weights, which were drawn at random: {lost}"
        ):
            sig = ha.analyze(folder, DEMO_DATASET, num_samples=4, cache=cache)
        scores.append(sig.scores.tolist())
    assert sig.metadata["model"]["missing_weights"] == {"number": 1, "first": [lost]}
    assert scores[0] == scores[1] == scores[2]


def test_batches_that_are_prepared_ahead_for_an_accelerator_give_the_same_bits(monkeypatch):
    here = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=48, batch_size=8, cache=False)
    monkeypatch.setattr("hf_affscore.run.batches.on_cpu", lambda module: False)
    ahead = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=48, batch_size=8, cache=False)
    assert ahead.scores.tolist() == here.scores.tolist()


def test_rows_outlive_the_memory_they_were_made_in():
    features, site = Features(), CallSite("act", "ReLU", 0, "module")
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    for start in range(0, 200, 2):  # more batches than a block has room for
        summary = Summary(rows + start, np.array([0.25, 0.5]))
        features.add(start, [(site, summary, summary)])
        summary.rows[...] = np.nan
    layer = SiteFeatures.join(features.take(site))
    np.testing.assert_array_equal(layer.pre, np.concatenate([rows + start for start in range(0, 200, 2)]))
    assert layer.sparsity_post == (0.375, 0.0)


class Accidental(nn.Module):
    """One activation is on a table of its own, whose length is that of a batch."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(8, 5))
        self.layer = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        return F.relu(self.layer(x)).mean() + F.gelu(self.table).mean()


def test_a_first_axis_that_happens_to_be_as_long_as_the_batch():
    images = [torch.rand(3, 8, 8) for _ in range(24)]
    for batch_size in (8, 24):
        signature = ha.analyze(Accidental(), images, num_samples=24, batch_size=batch_size)
        assert [row.activation for row in signature.rows] == ["relu"]
        (skipped,) = signature.skipped
        assert skipped.activation == "gelu"
        assert "shape (8, 5) has no row per image" in skipped.reason


@pytest.mark.parametrize(
    "option",
    [
        *({"dtype": "bfloat16"}, {"device": "cpu"}, {"device_map": "auto"}, {"revision": "main"}),
        *({"attn_implementation": "eager"}, {"trust_remote_code": True}),
        *({"split": "test"}, {"dataset_config": "x"}, {"image_column": "x"}, {"dataset_revision": "x"}),
    ],
)
def test_an_option_that_cannot_apply_is_refused(option):
    (name,) = option
    with pytest.raises(InputError, match=f"^{name} is .*, which cannot apply: .* Leave it out"):
        ha.analyze(Small(), images(4), num_samples=4, **option)


def test_a_folder_has_no_revision():
    with pytest.raises(InputError, match=r"revision 'main' cannot apply: .*digits-resnet is a local folder"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, revision="main")
    with pytest.raises(InputError, match=r"revision 'main' cannot apply: .*digits is a local folder"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, dataset_revision="main")


def test_one_model_is_not_many(small):
    for model in (str(DEMO_MODEL), DEMO_MODEL, nn.Sequential(small)):
        with pytest.raises(InputError, match="expected a list of models"):
            ha.analyze_many(model, "noise")


def test_a_model_without_values_says_so(small):
    with pytest.raises(ModelError, match="weights on the meta device"):
        ha.analyze(small.to("meta"), images(4), num_samples=4)


def test_a_data_set_that_fails_is_a_sentence(small):
    def broken():
        yield from images(3)
        raise ZeroDivisionError("here")

    with pytest.raises(DatasetError, match="failed after 3 images: ZeroDivisionError: here"):
        ha.analyze(small, broken(), num_samples=4, shuffle=False)
    with pytest.raises(DatasetError, match="failed after 0 images: ZeroDivisionError: here"):
        ha.analyze(small, broken(), num_samples=4)


@pytest.mark.parametrize(
    ("made", "named"), [([1.0], "list"), (np.zeros((3, 9, 9)), "ndarray"), (None, "NoneType")]
)
def test_a_processor_that_gives_no_tensor(small, made, named):
    pictures = [Image.new("RGB", (9, 9))] * 4
    with pytest.raises(InputError, match=f"became {named}; expected torch tensors"):
        ha.analyze(small, pictures, processor=lambda image: made, num_samples=4)


def test_a_processor_of_transformers_that_gives_a_list(small, monkeypatch):
    processor = AutoImageProcessor.from_pretrained(DEMO_MODEL)
    pictures = [Image.new("L", (9, 9), 20 * number) for number in range(8)]
    whole = ha.analyze(small, pictures, processor=processor, num_samples=8).scores

    def listing(self, images, **kwargs):
        made = real(self, images=images, **kwargs)
        return {"pixel_values": list(made["pixel_values"]), "target_sizes": [(9, 9)]}

    real = type(processor).__call__
    monkeypatch.setattr(type(processor), "__call__", listing)
    listed = ha.analyze(small, pictures, processor=processor, num_samples=8).scores
    assert listed.tolist() == whole.tolist()


@pytest.mark.filterwarnings("ignore:The module has no image processor")
def test_only_the_middle_of_a_strip_is_resized():
    transform = ImageNetTransform(32)
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (3, 48, 3), dtype=np.uint8))
    assert torch.equal(transform(wide), transform.transform(wide))
    assert transform(Image.new("RGB", (1, 200_000))).shape == (3, 32, 32)


@needs("datasets", "5", "it has no such pause")
def test_scoring_does_not_wait_for_a_stream_that_is_left(monkeypatch):
    left = []
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.5)
    monkeypatch.setattr("time.sleep", lambda seconds: left.append((seconds, threading.current_thread())))
    ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=4, cache=False)
    assert [thread for seconds, thread in left if seconds == 0.5] != [threading.main_thread()]


def test_a_width_that_changes_from_pass_to_pass_is_skipped_with_its_reason():
    class Uneven(nn.Module):
        passes = 0

        def forward(self, x):
            self.passes += 1
            return torch.tanh(x), torch.relu(x[:, : 2 + self.passes % 2])

    images = torch.randn(24, 3, 8, 8)
    sig = ha.analyze(Uneven(), images, num_samples=24, batch_size=8, cache=False)
    assert [row.activation for row in sig.rows] == ["tanh"]
    assert [(row.activation, row.reason) for row in sig.skipped] == [
        ("relu", "its pooled width differs between batches: [2, 3]")
    ]


def test_an_activation_that_changes_the_width_has_no_score_but_the_other_numbers(tmp_path):
    class Maxout(nn.Module):
        def forward(self, x):
            return torch.relu(x.unflatten(1, (2, -1)).amax(dim=1))

    images = torch.randn(40, 6, 8, 8)
    asked = {"include": ["Maxout", "relu"], "num_samples": 40, "cache": False}
    sig = ha.analyze(nn.Sequential(Maxout()), images, keep_rows=tmp_path, **asked)
    maxout, relu = sorted(sig.rows, key=lambda row: -row.dim)
    assert (maxout.activation, maxout.dim, maxout.evidence) == ("Maxout", 6, "undefined")
    assert maxout.reason.startswith("6 features become 3;")
    assert np.isnan(maxout.affinity_score)
    assert np.isfinite([maxout.r2_heldout, maxout.r2, maxout.cka]).all()
    assert np.isfinite([relu.affinity_score, relu.r2_heldout]).all()
    assert sig.summary()["undefined"] == 1
    assert ha.load_rows(tmp_path).rescore().rows == sig.rows
    assert ha.Signature.from_pretrained(tmp_path) == sig
    planned = ha.inspect(nn.Sequential(Maxout()), inputs=images[:2], include=asked["include"])
    assert [row.activation for row in planned.rows] == [row.activation for row in sig.rows]


def test_an_autocast_region_around_it_does_not_change_the_scores():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    images = torch.randn(24, 3, 8, 8)
    plain = ha.analyze(model, images, num_samples=24, cache=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ha.analyze(model, images, num_samples=24, cache=False).rows == plain.rows
