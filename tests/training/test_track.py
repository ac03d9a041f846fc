"""The tracker in a loop of one's own: the numbers of analyze, a fixed sample, and nothing left behind."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import set_seed

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, DatasetError, InputError, ModelError, SignatureError
from hf_affscore.signature import Signature
from hf_affscore.training import History
from tests.training.networks import Network, sample


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Network()


def tracker_of(model, images=None, **options):
    return ha.track(model, sample() if images is None else images, num_samples=20, **options)


def test_a_name_is_that_of_all_its_signatures(model):
    tracker = tracker_of(model, name="mine")
    assert [tracker(step).name for step in (0, 1)] == ["mine", "mine"]
    with pytest.raises(InputError, match="name is ' '; expected a text"):
        tracker_of(model, name=" ")


def step(model, optimizer=None):
    """One training step, by dropout and batch statistics; the gradients stay."""
    loss = model(torch.randn(8, 3, 10, 10), torch.randint(3, (8,)))["loss"]
    loss.backward()
    if optimizer is not None:
        optimizer.step()
        optimizer.zero_grad()


def surroundings(model):
    """Everything a measurement could disturb, in a form that can be compared."""
    return {
        "weights": {name: tensor.clone().tolist() for name, tensor in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "flags": [part.training for part in model.modules()],
        "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()],
        "python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],
        "torch": torch.get_rng_state().tolist(),
        "switches": (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.enabled,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
        ),
    }


def test_measures_what_analyze_does(model):
    tracked = tracker_of(model)(7)
    analysed = ha.analyze(model, sample(), num_samples=20, shrinkage=False)
    assert tracked.rows == analysed.rows
    assert tracked.metadata["training"] == {"step": 7}
    assert tracked.metadata["options"] == analysed.metadata["options"]
    assert tracked.metadata["dataset"] == analysed.metadata["dataset"]


def test_follows_the_weights_on_one_and_the_same_sample(model):
    images = sample()
    tracker = tracker_of(model, iter(images))  # can be iterated once
    before = tracker()
    images[0].add_(100)
    assert tracker().rows == before.rows
    nn.init.normal_(model.stem[0].weight)
    after = tracker()
    assert after.scores[0] != before.scores[0]
    assert list(tracker.history) == [0, 1, 2]


class Stochastic(Network):
    """Draws random numbers of all three kinds in evaluation mode too, and may fail."""

    fails = False

    def forward(self, pixel_values, labels=None):
        if self.fails and not self.training:
            raise ValueError("no")
        noise = random.random() + np.random.rand() + functional.dropout(torch.ones(1)).item()
        return super().forward(pixel_values + noise, labels)


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_everything_as_it_was(fails):
    model = Stochastic()
    step(model)
    tracker = tracker_of(model)
    model.fails = fails
    before = surroundings(model)
    if fails:
        with pytest.raises(ModelError, match="At step 0: Stochastic failed"):
            tracker()
    else:
        tracker()
    after = surroundings(model)
    assert {name for name in before if before[name] != after[name]} == set()
    assert len(tracker.history) == (0 if fails else 1)


class Merging(Network):
    """Adds an adapter into its weights when it leaves training mode, as some do."""

    def train(self, mode=True):
        if not mode:
            self.head.weight.data.add_(1)
        return super().train(mode)


def test_a_network_that_changes_its_weights_for_evaluation_keeps_them():
    model = Merging()
    before = model.head.weight.tolist()
    tracker_of(model)()
    assert model.head.weight.tolist() == before


def test_an_autocast_region_goes_on_with_the_same_gradients(model):
    """Autocast keeps the casts of weights for the whole region, also those made while gradients are off."""
    tracker = tracker_of(model)
    gradients = []
    for measure in (False, True):
        torch.manual_seed(1)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            if measure:
                tracker()
            step(model)
        gradients.append([p.grad is not None and p.grad.norm().item() for p in model.parameters()])
    assert gradients[0][0] > 0
    assert gradients[0] == gradients[1]


@pytest.mark.parametrize("accelerated", [False, True], ids=["around the loop", "inside forward"])
def test_autocast_does_not_reach_the_measurement(model, accelerated):
    """Scores are those of the saved weights; Accelerate's region stays where it was put."""
    expected = tracker_of(model)().rows
    if accelerated:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state()
        try:
            model = Accelerator(mixed_precision="bf16", cpu=True).prepare(model)
        finally:
            AcceleratorState._reset_state()
    forward = model.forward
    tracker = tracker_of(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=not accelerated):
        assert tracker().rows == expected
        assert torch.is_autocast_enabled("cpu") is not accelerated
    assert model.forward == forward


def test_a_whole_loop_gives_the_same_weights():
    weights = []
    for measure in (False, True):
        set_seed(0)
        model = Stochastic()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        tracker = tracker_of(model)
        for number in range(6):
            if measure:
                tracker(number)
            step(model, optimizer)
        weights.append([parameter.tolist() for parameter in model.parameters()])
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
    ],
    ids=["parallel", "compiled", "both"],
)
def test_sees_the_network_inside_its_wrappers(model, wrap):
    expected = tracker_of(model)()
    found = tracker_of(wrap(model))()
    assert found.rows == expected.rows
    assert found.metadata["model"] == expected.metadata["model"]


def test_weights_spread_over_processes_are_refused(model):
    tracker = tracker_of(model)
    model.head.weight.device_mesh = "what a DTensor has"
    with pytest.raises(ModelError, match=r"At step 0: .*spread over processes"):
        tracker()


def test_undecodable_images_are_replaced_by_later_ones(model, tmp_path):
    from PIL import Image

    for index in range(6):
        pixels = np.random.default_rng(index).integers(0, 255, (10, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes(b"broken")

    def processor(image):
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 255

    with pytest.warns(AffscoreWarning, match=r"1 image\(s\) could not be decoded and were replaced"):
        signature = ha.track(model, tmp_path, processor=processor, num_samples=5, shuffle=False)()
    assert signature.metadata["dataset"]["num_samples"] == 5
    assert signature.metadata["dataset"]["id"] == tmp_path.name
    with pytest.warns(AffscoreWarning, match=r"has 5 usable images \(1 more could not be decoded\)"):
        ha.track(model, tmp_path, processor=processor, num_samples=6)


def test_history_is_a_table_and_folders(model, tmp_path):
    tracker = tracker_of(model)
    tracker(5), tracker(10)
    table = tracker.history.to_dataframe()
    assert table["step"].tolist() == [5, 5, 10, 10]
    assert table["module"].tolist() == ["stem.2", "(model)"] * 2
    assert table["affinity_score"].tolist() == [*tracker.history[5].scores, *tracker.history[10].scores]
    assert dict(History.load(tracker.history.save(tmp_path))) == dict(tracker.history)
    with pytest.raises(SignatureError, match="No history in"):
        History.load(tmp_path / "step-000005")


def test_steps_may_be_numbers_of_numpy(model):
    tracker = tracker_of(model)
    signature = tracker(np.int64(3))
    assert list(tracker.history) == [3]
    assert type(signature.metadata["training"]["step"]) is int
    assert Signature.from_files(signature.to_files(), "memory") == signature


@pytest.mark.parametrize("number", [5, 4, -1, 6.0, True])
def test_steps_go_forward(model, number):
    tracker = tracker_of(model)
    tracker(5)
    with pytest.raises(InputError, match="expected a whole number larger than 5"):
        tracker(number)


def test_wrong_inputs_are_refused(model):
    with pytest.raises(InputError, match=r"model is a str; expected the torch.nn.Module"):
        ha.track("microsoft/resnet-18", sample())
    with pytest.raises(InputError, match="num_samples is 'all'; expected a number"):
        ha.track(model, sample(), num_samples="all")
    with pytest.raises(TypeError, match="numsamples"):
        ha.track(model, sample(), numsamples=3)
    with pytest.raises(InputError, match="on the meta device, which has no pixels"):
        tracker_of(model, [image.to("meta") for image in sample()])
    with pytest.raises(DatasetError, match="has 1 usable images; a score needs at least 2"):
        ha.track(model, sample(1))
