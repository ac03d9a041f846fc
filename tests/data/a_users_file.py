"""What a user writes: every public name, as the documentation calls it, for pyright in strict mode.

Lines that end in ``# refused`` are mistakes that a type checker has to find.
"""

from pathlib import Path

import numpy as np
import torch

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL

signature: ha.Signature = ha.analyze(DEMO_MODEL, DEMO_DATASET, split="test", num_samples=32, pooling="paper")
lowest: float = float(signature.scores.min())
rows = [(row.module, row.activation, row.dim, row.affinity_score) for row in signature.rows]
reasons = [row.reason for row in signature.skipped]
means: dict[str, float | int] = signature.summary()
sentences: tuple[str, ...] = signature.verdict
linear = [row.affinity_score for row in signature.near_linear(threshold=0.99)]
size: tuple[int, int] = signature.to_dataframe().shape
folder: Path = signature.save_pretrained("signature")
again = ha.Signature.from_pretrained(folder)
dots: float = again.plot("signature.svg").dpi

widths = [row.dim for row in ha.inspect(DEMO_MODEL).rows]
errors = [outcome.error for outcome in ha.analyze_many([DEMO_MODEL], DEMO_DATASET, num_samples=32)]

comparison = ha.compare([signature, again])
largest: float = float(comparison.distances.max())
changed = comparison.difference(*comparison.names)
names = list(ha.load_signatures("user/signatures"))

before = np.random.default_rng(0).normal(size=(64, 4))
score: float = ha.affinity_score(before, np.maximum(before, 0))
pre = torch.randn(64, 4, requires_grad=True)
loss: torch.Tensor = ha.affinity_loss(pre, pre.relu())

network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
tracker = ha.track(network, list(torch.randn(32, 3, 16, 16)), num_samples=32)
measured = tracker(step=0).scores
callback = ha.AffinityCallback("user/images", every_steps=500)
ha.register_activation(torch.nn.Identity)

try:
    signature.push_to_hub("user/signatures")
    ha.update_model_card(signature, "user/model")
except ha.AffscoreError as error:
    print(error)

ha.analyze(DEMO_MODEL, DEMO_DATASET, pooling="averages")  # refused
ha.analyze_many([DEMO_MODEL], DEMO_DATASET, num_images=32)  # refused
ha.track(network, DEMO_DATASET, device=0)  # refused
text: str = signature.scores  # refused
