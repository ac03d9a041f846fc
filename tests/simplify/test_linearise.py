"""Activations that give way to affine maps: closed forms, what stays and why, the least agreement, the costs."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import hf_affscore as ha
from hf_affscore.cli import main
from hf_affscore.errors import DatasetError, InputError, ModelError, NoActivationError
from hf_affscore.simplify.channel_map import Moments
from hf_affscore.simplify.sample import LEAST_IMAGES, Part
from hf_affscore.simplify.trial import Trial


class Classifier(nn.Module):
    """Layers of several kinds; with positive weights each ReLU is the identity on positive images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.act1 = nn.ReLU()
        self.depthwise = nn.Conv2d(6, 6, 3, groups=3, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.act2 = nn.ReLU(inplace=True)
        self.linear = nn.Linear(6, 8)
        self.act3 = nn.ReLU()
        self.act4 = nn.ReLU()
        self.head = nn.Linear(8, 5)

    def forward(self, pixels):
        hidden = self.act1(self.conv(pixels))
        hidden = self.act2(self.norm(self.depthwise(hidden))).mean((2, 3))
        hidden = self.act3(self.linear(hidden))
        return self.head(self.act4(hidden + 1))


def positive(model):
    """The model with weights and biases above 0, so that positive images stay positive."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().add_(0.01)
    return model.eval()


def pictures(count=16, size=8, seed=0):
    return list(torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def linearise(model, images, **options):
    return ha.linearise(model, images, num_samples=len(images), shuffle=False, progress=False, **options)


def given(model, images):
    with torch.no_grad():
        return model(torch.stack(images))


def test_identities_are_folded_exactly():
    model, images = positive(Classifier()), pictures()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    linear, report = linearise(model, images, budget=0.0)
    np.testing.assert_allclose(given(linear, images), given(model, images), rtol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [(row.module, row.map, row.reason) for row in report.rows] == [
        ("act1", "conv", None),
        ("act2", "norm", None),
        ("act3", "linear", None),
        ("act4", "head", None),  # an addition comes before it
    ]
    assert isinstance(linear.act1, nn.Identity)
    assert isinstance(model.act1, nn.ReLU)
    assert (report.agreement, report.agreement_chosen) == (1, 1)
    assert [row.r2 for row in report.replaced] == pytest.approx([1, 1, 1, 1])
    assert {type(part) for part in linear.modules()} <= {type(part) for part in model.modules()} | {
        nn.Identity
    }


def test_a_folded_map_gives_what_the_map_gives():
    """ReLUs that do something, and layers with and without a bias."""
    model, images = Classifier().eval(), pictures()
    model.norm.running_mean.normal_()
    linear, report = linearise(model, images, budget=1.0)
    assert [row.map for row in report.rows] == ["conv", "norm", "linear", "head"]
    fit = Moments(axis=1)
    with torch.no_grad():
        pre = model.conv(torch.stack(images[::2]))
        fit.add(pre, pre.relu())
        slope, offset = (part[:, None, None] for part in (fit.fit().slope, fit.fit().offset))
        np.testing.assert_allclose(
            linear.conv(pre.new_ones(1, 3, 8, 8)),
            slope * model.conv(pre.new_ones(1, 3, 8, 8)) + offset,
            rtol=1e-5,
        )


def test_the_result_saves_and_loads(tmp_path):
    model, images = positive(Classifier()), pictures()
    linear, _ = linearise(model, images)
    torch.save(linear, tmp_path / "whole.pt")
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(given(again, images), given(linear, images))
    other, _ = linearise(positive(Classifier()), images)
    assert not torch.equal(given(other, images), given(linear, images))
    torch.save(linear.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(given(other, images), given(linear, images))


class Residual(nn.Module):
    """The first activation's input is used again, so nothing can be folded into the layer before it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, pixels):
        hidden = self.conv(pixels)
        return self.head((self.act(hidden) + hidden).mean((2, 3)))


def test_a_layer_with_other_uses_is_left_alone():
    model, images = Residual().eval(), pictures()
    linear, report = linearise(model, images, budget=1.0)
    assert report.rows[0].map == "convolution"
    assert torch.equal(linear.conv.weight, model.conv.weight)
    assert linear.act.weight.shape == (4, 1, 1, 1)
    assert report.after.parameters == report.before.parameters + 8
    assert report.after.operations == report.before.operations + 2 * 4 * 64
    with torch.no_grad():
        hidden = model.conv(torch.stack(images))
        wanted = model.head((linear.act(hidden) + hidden).mean((2, 3)))
    np.testing.assert_allclose(given(linear, images), wanted, rtol=1e-5, atol=1e-6)


class Stubborn(nn.Module):
    """Activations that stay, each for a reason of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.shared = nn.ReLU()
        self.glu = nn.GLU(1)
        self.unused = nn.GELU()
        self.last = nn.Tanh()
        self.head = nn.Linear(2, 3)

    def forward(self, pixels):
        hidden = functional.relu(self.conv(pixels))
        if pixels.shape[1] != 3:  # which torch.fx does not know
            raise ValueError
        hidden = self.glu(self.shared(self.shared(hidden)))
        return self.head(2 * self.last(hidden.mean((2, 3))))


def test_what_stays_has_its_reason():
    _, report = linearise(Stubborn().eval(), pictures(), budget=1.0)
    found = {(row.module, row.call): row.reason for row in report.rows}
    assert "cannot trace the Stubborn around it (TraceError: symbolically traced" in found["(model)", 0]
    assert "cannot trace the Stubborn" in found["shared", 0]
    assert "cannot trace the Stubborn" in found["shared", 1]
    assert found["glu", 0] == "it is no element-wise activation"
    assert found["last", 0].startswith("no layer beside it")
    assert not report.replaced
    assert report.after.elements == report.before.elements
    assert "3 not replaced: torch.fx cannot trace the Stubborn around it" in report.text(80)


def test_a_module_that_the_network_passes_by_is_left_alone():
    """torch's fused path of a transformer layer reads its weights, and does not call its activation."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.ReLU(), batch_first=True)
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 8), layer, nn.Flatten(1), nn.Linear(24, 4)).eval()
    linear, report = linearise(model, pictures(), budget=1.0)
    assert "does not run" in report.rows[0].reason
    assert isinstance(linear[2].activation, nn.ReLU)


def test_elements_are_counted_by_hand():
    _, report = linearise(positive(Classifier()), pictures(), sites=["act1", "act3"])
    assert [row.elements for row in report.rows] == [6 * 8 * 8, 6 * 6 * 6, 8, 8]
    assert report.before.elements == 384 + 216 + 8 + 8
    assert report.after.elements == 216 + 8
    assert report.rows[1].reason == "not among the sites that were asked for"
    assert report.before.operations == 2 * (6 * 64 * 27 + 6 * 36 * 18 + 8 * 6 + 5 * 8)
    assert report.before.parameters == sum(value.numel() for value in Classifier().parameters())


def coloured():
    """Images that differ in colour."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(64, 3, 1, 1, generator=generator)
    return list(colours + 0.1 * torch.rand(64, 3, 8, 8, generator=generator))


def wavy():
    """A network that lives on its sines: one activation is affine on these images, the others are not."""

    class Sine(nn.Module):
        def forward(self, values):
            return torch.sin(6 * values)

    ha.register_activation(Sine)
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), Sine(), nn.Conv2d(8, 8, 1), Sine(), nn.Conv2d(8, 8, 1), nn.Softplus(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[-1].bias -= model(torch.stack(coloured())).mean(0)  # so that images have different classes
    return model


@pytest.mark.parametrize("least", [0.5, 0.9, 1.0])
def test_the_least_agreement_is_kept(least):
    model, images = wavy(), coloured()
    linear, report = linearise(model, images, budget=1 - least)
    assert (report.num_fitting, report.num_choosing, report.num_measuring) == (32, 16, 16)
    same = (given(linear, images).argmax(1) == given(model, images).argmax(1)).double()
    assert report.agreement_chosen == float(same[1::4].mean()) >= least
    assert report.agreement == float(same[3::4].mean())  # of images that nothing was fitted to or chosen by
    assert report.agreement_low <= report.agreement <= report.agreement_high
    for row in report.rows:
        assert row.replaced == (row.reason is None)
        assert not row.replaced or min(row.agreement_alone, row.agreement_together) >= least


def test_a_budget_is_not_lost_to_rounding():
    """Of 1 - 0.7 floating point makes more than 0.3."""
    images = Part({"input": torch.zeros(10, 3)}, 10, torch.device("cpu"))
    assert 1 - 0.7 > 3 / 10 >= Trial(nn.Flatten(), images, [], budget=0.7).least


def test_less_agreement_replaces_more():
    counts = [len(linearise(wavy(), coloured(), budget=1 - least)[1].replaced) for least in (0, 0.9, 1)]
    assert counts[0] == 3 > counts[1] >= counts[2]


def test_maps_are_fitted_to_every_second_image_and_to_no_other():
    model, images = Residual().eval(), pictures(16)
    weight = linearise(model, images, budget=1.0).model.act.weight
    for changed, same in ((1, True), (3, True), (0, False), (2, False)):
        others = [image * 3 if number == changed else image for number, image in enumerate(images)]
        assert torch.equal(linearise(model, others, budget=1.0).model.act.weight, weight) is same


def test_moments_are_those_of_numpy():
    pre = torch.randn(4, 3, 5, 5) * torch.tensor([1.0, 10, 0])[:, None, None] + 5
    post = pre.relu() + 0.1 * torch.randn(4, 3, 5, 5)
    moments = Moments(axis=1)
    for one, two in zip(pre.split(2), post.split(2), strict=True):
        moments.add(one, two)
    fit = moments.fit()
    x, y = (side.movedim(1, 0).flatten(1).double().numpy() for side in (pre, post))
    for channel in range(2):
        slope, offset = np.polyfit(x[channel], y[channel], 1)
        assert float(fit.slope[channel]) == pytest.approx(slope)
        assert float(fit.offset[channel]) == pytest.approx(offset)
    assert (float(fit.slope[2]), float(fit.offset[2])) == (0, pytest.approx(y[2].mean()))  # a constant input
    errors = y - (fit.slope[:, None].numpy() * x + fit.offset[:, None].numpy())
    assert fit.r2 == pytest.approx(1 - (errors**2).sum() / ((y - y.mean(1, keepdims=True)) ** 2).sum())


def test_refusals_say_what_to_do():
    model, images = positive(Classifier()), pictures()
    with pytest.raises(InputError, match="budget is 99; expected a share"):
        linearise(model, images, budget=99)
    with pytest.raises(InputError, match="budget is True"):
        linearise(model, images, budget=True)
    with pytest.raises(InputError, match=r"sites has 'act9'.*Did you mean"):
        linearise(model, images, sites=["act9"])
    with pytest.raises(InputError, match="expected a list of patterns"):
        linearise(model, images, sites="act1")
    with pytest.raises(InputError, match="pooling is 'channels', which cannot apply"):
        linearise(model, images, pooling="channels")
    with pytest.raises(InputError, match="'all'; expected a number"):
        ha.linearise(model, images, num_samples="all")
    with pytest.raises(TypeError, match="Did you mean 'budget'"):
        linearise(model, images, buget=1)
    with pytest.raises(DatasetError, match=f"7 usable.*at least {LEAST_IMAGES}"):
        linearise(model, images[:7])
    with pytest.raises(InputError, match="logits of shape"):
        linearise(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), images)
    with pytest.raises(NoActivationError, match="nothing to replace"):
        linearise(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), images)
    model.lock = open(__file__)  # noqa: SIM115
    with pytest.raises(ModelError, match="cannot be copied"):
        linearise(model, images)
    model.lock.close()


def test_the_report_fits_its_width_and_is_json():
    _, report = linearise(wavy(), coloured(), budget=0.1)
    for width in (60, 80, 120):
        assert max(map(len, report.text(width).splitlines())) <= width
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["before"]["elements"] == report.before.elements
    assert len(report.to_dataframe()) == len(document["rows"]) == 3
    assert "activations replaced" in repr(report)


def test_the_command_saves_the_network(tmp_path, capsys):
    from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL

    arguments = [
        "linearise",
        str(DEMO_MODEL),
        "--dataset",
        str(DEMO_DATASET),
        "--num-samples",
        "32",
        "--json",
    ]
    arguments += [
        "--sites",
        "*stages.2.layers.2*",
        "--budget",
        "0.5",
        "--output",
        str(tmp_path / "net.pt"),
    ]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    assert (len(document["rows"]), document["budget"]) == (19, 0.5)
    network = torch.load(tmp_path / "net.pt", weights_only=False)
    with torch.no_grad():
        assert network(torch.rand(2, 3, 32, 32)).logits.shape == (2, 10)
    folded, last = document["rows"][17:]
    assert folded["map"] == "resnet.encoder.stages.2.layers.2.layer.0.normalization"
    assert last["map"] == "classifier.1"  # the last, after an addition: into the layer after the pooling
    arguments[-1] = str(tmp_path / "missing" / "net.pt")
    with pytest.raises(SystemExit, match="expected a file in a folder that exists"):
        main(arguments)


def test_a_dry_run_writes_no_network(tmp_path):
    arguments = [
        "linearise",
        "no-such-network",
        "--dataset",
        "noise",
        "--dry-run",
        "--output",
        str(tmp_path / "net.pt"),
    ]
    with pytest.raises(SystemExit, match="which makes no network"):
        main(arguments)


@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_cannot_be_written_is_refused_at_once(there, tmp_path, monkeypatch):
    file = tmp_path / "net.pt"
    arguments = ["linearise", "no-such-network", "--dataset", "no-such-images", "--output", str(file)]
    if there:
        file.write_text("a network")
    with pytest.raises(SystemExit, match="no-such-network"):  # it can be written
        main(arguments)
    assert file.exists() == there
    assert not there or file.read_text() == "a network"

    def refused(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refused)
    with pytest.raises(SystemExit, match="cannot be written: Permission denied"):
        main(arguments)


class Root(Classifier):
    """The first class for all images; NaN where an activation no longer keeps negative numbers out."""

    def forward(self, pixels):
        hidden = self.act1(self.conv(pixels) - 0.5).sqrt().mean((2, 3))
        return self.head(hidden[:, [0, 1, 2, 3, 4, 5, 0, 0]]) + torch.tensor([100.0, 0, 0, 0, 0])


def test_nan_is_no_class():
    linear, report = linearise(Root().eval(), pictures(), budget=0.0)
    assert (report.rows[0].agreement_alone, report.agreement, len(report.replaced)) == (0, 1, 0)
    assert given(linear, pictures()).isfinite().all()


def test_a_network_that_gives_nan_is_refused():
    images = pictures()
    images[4][0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="Classifier gives NaN for 1 of 16 images"):
        linearise(Classifier().eval(), images)


def test_a_map_that_changes_classes_where_it_goes_stays_out(monkeypatch):
    """Half precision lets a fold pass that changes more classes than the map in place did."""

    def scrambled(weight, *args):
        return -weight.detach().double(), torch.zeros(len(weight)).double()

    model, images = positive(Classifier()), pictures()
    with torch.no_grad():
        model.head.bias -= given(model, images).mean(0)
    monkeypatch.setattr("hf_affscore.simplify.replacing.equal", lambda *args: True)
    monkeypatch.setattr("hf_affscore.simplify.replacing._fold_before", scrambled)
    _, report = linearise(model, images, budget=0.0)
    assert report.agreement_chosen == 1


class TwoFormats(nn.Module):
    """The first layer in float32, the others in bfloat16; the ReLU stands before an addition."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3, dtype=torch.bfloat16)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, pixels):
        hidden = self.second(self.first(pixels).to(torch.bfloat16))
        return self.head((self.act(hidden) + hidden.sin()).float().mean((2, 3)))


def test_a_convolution_has_the_number_format_of_its_input():
    linear, report = linearise(TwoFormats().eval(), pictures(), budget=1.0)
    assert [row.map for row in report.rows] == ["convolution"]
    assert linear.act.weight.dtype == torch.bfloat16
    assert given(linear, pictures()).isfinite().all()


def test_a_network_that_needs_more_than_images_is_refused():
    class Two(Classifier):
        def forward(self, pixels, more):
            return super().forward(pixels) + more

    with pytest.raises(ModelError, match=r"Two failed on a batch with pixel_values .*'more'.*images alone"):
        linearise(Two().eval(), pictures())
