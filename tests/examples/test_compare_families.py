"""The eight small networks are what their names promise, before any training."""

import pytest
import torch

import hf_affscore as ha
from examples.compare_families import NETWORKS, plain_cnn
from examples.train_digits_resnet import logits, make_network


@pytest.mark.parametrize("name", NETWORKS)
def test_name_tells_the_number_of_activations(name):
    make, _ = NETWORKS[name]
    images = list(torch.randn(4, 3, 32, 32))
    signature = ha.analyze(make(), images, num_samples=4, shuffle=False, progress=False)
    assert len(signature.rows) == int(name.rsplit("-", 1)[1])


def test_only_shortcuts_carry_anything_past_dead_layers():
    """With every block's own layers silenced, a residual network still sees its image, a plain one does not."""
    images = torch.randn(2, 3, 32, 32)

    def differs(network):
        for name, parameter in network.named_parameters():
            if ".layer." in name:
                torch.nn.init.zeros_(parameter)
        first, second = logits(network.eval(), images)
        return bool((first != second).any())

    torch.manual_seed(0)
    assert differs(make_network(2))
    assert not differs(plain_cnn(2))
