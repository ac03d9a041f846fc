"""A forward pass that changes the model: every parameter, buffer and attribute is afterwards what it was."""

import copy
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import hf_affscore as ha
from hf_affscore.capture import Capture, Watched
from hf_affscore.errors import AffscoreWarning, ModelError

LARGE = 300  # a square of this side is larger than what is copied at once


class Changing(nn.Module):
    """Changes itself by a function, every time it runs, or from some time on."""

    def __init__(self, change: Callable[["Changing", Tensor], object], after: int = 0) -> None:
        super().__init__()
        self.change, self.after = change, after
        self.runs = 0
        self.weight = nn.Parameter(torch.eye(3))
        self.large = nn.Parameter(torch.ones(LARGE, LARGE))
        self.register_buffer("counter", torch.zeros(()))
        self.register_buffer("queue", torch.zeros(LARGE, LARGE), persistent=False)
        self.register_buffer("empty", None)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("variance", torch.ones(3))
        self.cache: Tensor | None = None
        self.plain = torch.zeros(2)
        self.seen: deque[int] = deque(maxlen=3)
        self.settings = {"calibrated": False}
        self.names: set[str] = set()
        self.nested: dict[str, Any] = {"queue": [torch.zeros(2)], "step": ([0], {"last": torch.zeros(2)})}
        self.array = np.zeros(3)
        self.large_array = np.zeros((LARGE, LARGE))
        self.generators = {
            "torch": torch.Generator().manual_seed(1),
            "numpy": np.random.default_rng(1),
            "old": np.random.RandomState(1),
            "python": random.Random(1),
        }
        self.teacher = [nn.BatchNorm1d(3)]  # hidden from modules(), and so from eval()

    def forward(self, x: Tensor) -> Tensor:
        if self.runs >= self.after:
            with torch.no_grad():
                self.change(self, x)
        self.runs += 1
        return F.relu(x + self.large.mean() + self.queue.sum() + self.counter)


def replace(module: Changing, x: Tensor) -> None:
    module.counter = module.counter + 1
    module._buffers["queue"] = torch.ones(2)


def attributes(module: Changing, x: Tensor) -> None:
    module.cache, module.added = x.detach(), torch.ones(3)
    module.plain += 1
    module.seen.append(1)
    module.settings["calibrated"] = True
    module.names.add("x")
    module.empty = torch.ones(1)
    module.layer = nn.Linear(2, 2)


def nested(module: Changing, x: Tensor) -> None:
    module.nested["queue"][0] += 1
    module.nested["queue"].append(x.detach())
    module.nested["step"][0][0] += 1
    module.nested["step"][1]["last"] = x.detach()
    module.nested["new"] = 1


def sampled(module: Changing, x: Tensor) -> None:
    torch.rand(1, generator=module.generators["torch"])
    for name in ("numpy", "old", "python"):
        module.generators[name].random()


def through_numpy(module: Changing, x: Tensor) -> None:
    module.mean.numpy()[0] = 5


def resized(module: Changing, x: Tensor) -> None:
    module.mean.resize_(7).fill_(1)
    module.large.data = torch.zeros(2, 2)


CHANGES: dict[str, Callable[[Changing, Tensor], object]] = {
    "counter in a buffer": lambda m, x: m.counter.add_(1),
    "item": lambda m, x: m.queue.__setitem__(0, 1.0),
    "queue": lambda m, x: m.queue[:2].copy_(torch.ones(2, LARGE)),
    "parameter": lambda m, x: m.large.mul_(0.5),
    "small parameter": lambda m, x: m.weight.neg_(),
    "past the counter": lambda m, x: m.large.data.mul_(0.5),
    "view past the counter": lambda m, x: m.queue.data[1:].view(-1).add_(1),
    "other memory": lambda m, x: setattr(m.large, "data", torch.zeros(LARGE, LARGE)),
    "out": lambda m, x: torch.add(m.large, 1, out=m.large),
    "several": lambda m, x: torch._foreach_mul_([m.large, m.weight], 2.0),
    "initialised": lambda m, x: nn.init.zeros_(m.large),
    "new parameter": lambda m, x: setattr(m, "weight", nn.Parameter(torch.ones(1))),
    "statistics that count no writes": lambda m, x: F.batch_norm(x, m.mean, m.variance, training=True),
    "replaced": replace,
    "attributes": attributes,
    "numpy": through_numpy,
    "resized": resized,
    "half": lambda m, x: nn.Module.double(m),
    "nested": nested,
    "array": lambda m, x: m.array.__iadd__(1),
    "random generators": sampled,
    "module in a list": lambda m, x: m.teacher[0](x + 1),
}


def everything(model: nn.Module) -> list[object]:
    """Tensors with their bits, and all attributes by identity."""
    found: list[object] = []
    for module in model.modules():
        tensors = {**module._parameters, **module._buffers}
        found += [
            (n, id(t), t.shape, t.dtype, t.detach().clone().numpy().tobytes())
            for n, t in tensors.items()
            if t is not None
        ]
        found.append({name: id(value) for name, value in vars(module).items()})
        found.append([name for name, tensor in tensors.items() if tensor is None])
    if isinstance(model, Changing):
        found += [
            model.plain.tolist(),
            list(model.seen),
            dict(model.settings),
            set(model.names),
            dict(model._modules),
            repr(model.nested),
            model.array.tolist(),
            repr(model.teacher[0].state_dict()),
            *next_numbers(model.generators),
        ]
    return found


def next_numbers(generators: dict[str, Any]) -> list[float]:
    """What generators would give next."""
    copies = copy.deepcopy({name: each for name, each in generators.items() if name != "torch"})
    twin = generators["torch"].clone_state()
    return [torch.rand(1, generator=twin).item(), *(each.random() for each in copies.values())]


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_undone_whenever_it_happens(change: str, after: int) -> None:
    model = Changing(CHANGES[change], after)
    before = everything(model)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    outputs = []
    with Watched(model) as watched:
        for _ in range(4):
            with Capture(watched, lambda tensor, site: tensor.clone()) as seen:
                model(x.clone())
            outputs.append(seen.calls[0].post)
    assert everything(model) == before
    if "half" not in change and after == 0:  # every pass began with the model as it was found
        assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_an_error_inside_the_pass_undoes_what_went_before() -> None:
    def fail(module: Changing, x: Tensor) -> None:
        module.large.data.zero_()
        module.counter += 1
        raise RuntimeError("on purpose")

    model = Changing(fail)
    before = everything(model)
    with pytest.raises(RuntimeError, match="on purpose"), Capture(model, lambda tensor, site: None):
        model(torch.ones(2, 3))
    assert everything(model) == before


def test_what_cannot_be_put_back_is_an_error() -> None:
    class Act(nn.ReLU):  # inside an activation, functions are not seen
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(LARGE, LARGE))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.table.mul_(2)
            return x.relu()

    model = nn.Sequential(nn.Flatten(), Act())
    with pytest.raises(ModelError, match=r"1\.table were written to"):
        ha.analyze(model, list(torch.randn(8, 3, 2, 2)), num_samples=8, progress=False)


def test_a_large_array_that_was_written_to_is_an_error() -> None:
    model = Changing(lambda m, x: m.large_array.__setitem__((0, 0), 1.0))
    with pytest.raises(ModelError, match="large_array were written to"), Watched(model):
        model(torch.ones(2, 3))


def test_a_model_with_a_generator_of_its_own_gives_two_answers_and_keeps_it() -> None:
    class Sampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(0)

        def forward(self, x: Tensor) -> Tensor:
            noise = torch.rand(x.shape, generator=self.generator)
            return F.relu(x.flatten(1) + noise.flatten(1))

    model = Sampling()
    before = model.generator.get_state()
    with pytest.warns(AffscoreWarning, match="different outputs for the same batch"):
        found = ha.analyze(model, list(torch.randn(16, 3, 2, 2)), num_samples=16, progress=False)
    assert found.metadata["model"]["deterministic"] is False
    assert torch.equal(model.generator.get_state(), before)


def test_no_copy_is_made_of_weights_that_nothing_writes_to() -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU())
    with Watched(model) as watched:
        with Capture(watched, lambda tensor, site: None):
            model(torch.ones(2, 512))
        assert [held._copy is None for held in watched.state._held.values()] == [True, False]  # weight, bias


class Quantising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU()
        )
        self.net.qconfig = get_default_qat_qconfig("x86")
        prepare_qat(self.net, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["analyze", "track"])
@pytest.mark.parametrize("observing", [True, False])
def test_quantisation_aware_training_goes_on_as_if_nothing_was_measured(observing: bool, how: str) -> None:
    from torch.ao.quantization import disable_observer

    images = list(torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 5)
    start = Quantising()
    if not observing:
        start.apply(disable_observer)

    def train(measured: bool) -> list[float]:
        model = copy.deepcopy(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        tracker = ha.track(model, images, num_samples=16) if how == "track" else None
        losses, generator = [], torch.Generator().manual_seed(0)
        for _ in range(3):
            loss = model(torch.randn(4, 3, 12, 12, generator=generator)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if measured and tracker is not None:
                tracker()
            elif measured:
                ha.analyze(model, images, num_samples=16, progress=False)
        return losses

    assert train(measured=True) == train(measured=False)
    np.testing.assert_array_equal(
        *[ha.analyze(start, images, num_samples=16, progress=False).scores for _ in range(2)]
    )
