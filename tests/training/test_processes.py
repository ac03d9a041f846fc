"""Two processes that train together: one measures, both have the scores and errors, neither is disturbed."""

import json

import pytest

from tests.processes import run_script

SCRIPT = """
import json, os, sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

import hf_affscore as ha
from tests.training.networks import sample, trained

folder = Path(sys.argv[1])
observed = ha.AffinityCallback(sample(), num_samples=20, every_steps=3, batch_size=4)
alone = trained(folder / "alone", ddp_backend="gloo")
watched = trained(folder / "watched", [observed], ddp_backend="gloo")
rank = watched.args.process_index
pairs = zip(alone.model.state_dict().values(), watched.model.state_dict().values())
same = all(torch.equal(one, other) for one, other in pairs)  # before the next wrapper copies them about
tracked = ha.track(DistributedDataParallel(watched.model), sample(), num_samples=20, batch_size=4)()
if rank == 0:
    torch.save(watched.model.state_dict(), folder / "weights.pt")
try:
    ha.track(watched.model, list(torch.randn(20, 5, 10, 10)), num_samples=20)()
except ha.AffscoreError as caught:
    error = str(caught)
(folder / "blocked").mkdir(exist_ok=True)
(folder / "blocked" / "affinity").touch()  # a file where the main process wants to save
try:
    trained(folder / "blocked", [ha.AffinityCallback(sample(), num_samples=20)], ddp_backend="gloo")
except ha.AffscoreError as caught:
    unsaved = str(caught)

class Odd(type(watched.model)):
    def modules(self):  # the main process alone looks at them
        if torch.distributed.get_rank() == 0 and self.error is not None:
            raise self.error
        return super().modules()

class Log(TrainerCallback):
    def on_log(self, args, state, control, **others):
        if torch.distributed.get_rank() == 0 and any("affinity/" in name for name in state.log_history[-1]):
            raise OSError("disk full")

Odd.error = None
odd = Odd()
tracker = ha.track(odd, sample(), num_samples=20)
outcomes = []
for error_of_one in (KeyError("modules"), torch.OutOfMemoryError("no room"), SystemExit(3), KeyboardInterrupt()):
    odd.error = error_of_one
    try:
        tracker()
    except BaseException as caught:
        outcomes.append(f"{type(caught).__name__}: {caught}")
odd.error = None
outcomes.append(len(tracker().rows))  # the processes are in step
try:
    trained(folder / "log", [ha.AffinityCallback(sample(), num_samples=20), Log()], ddp_backend="gloo")
except Exception as caught:
    outcomes.append(f"{type(caught).__name__}: {caught}")
(folder / f"outcomes-{rank}.json").write_text(json.dumps(outcomes))
found = {
    "error": error,
    "unsaved": unsaved,
    "processes": watched.args.world_size,
    "same weights": same,
    "steps": list(observed.history),
    "last": observed.history[9].scores.tolist(),
    "tracked": tracked.scores.tolist(),
    "logged": [entry["step"] for entry in watched.state.log_history if "affinity/mean" in entry],
}
(folder / f"rank-{rank}.json").write_text(json.dumps(found))
torch.distributed.destroy_process_group()
os._exit(0)  # gloo's threads may abort a process that takes itself apart, even now
"""

ALONE = """
import json, sys, torch
import hf_affscore as ha
from tests.training.networks import Network, sample

network = Network()
network.load_state_dict(torch.load(sys.argv[1], weights_only=True))
print(json.dumps(ha.track(network, sample(), num_samples=20, batch_size=4)().scores.tolist()))
"""


@pytest.mark.slow
def test_two_processes(tmp_path):
    script = tmp_path / "together.py"
    script.write_text(SCRIPT)
    done = run_script(script, tmp_path, processes=2, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    main, other = (json.loads((tmp_path / f"outcomes-{rank}.json").read_text()) for rank in (0, 1))
    assert main == [
        *("KeyError: 'modules'", "OutOfMemoryError: no room", "SystemExit: 3", "KeyboardInterrupt: ", 2),
        "OSError: disk full",
    ]
    assert other == [
        "RuntimeError: Process 0 failed: KeyError: 'modules'",
        "RuntimeError: Process 0 failed: OutOfMemoryError: no room",
        *("SystemExit: 3", "KeyboardInterrupt: ", 2),
        "RuntimeError: Process 0 failed: OSError: disk full",
    ]
    assert (first["processes"], first["same weights"]) == (2, True)
    assert first["steps"] == first["logged"] == [0, 3, 6, 9]
    script.write_text(ALONE)
    alone = json.loads(run_script(script, tmp_path / "weights.pt").stdout)
    assert first["last"] == first["tracked"] == alone
    assert first["error"].startswith("At step 0: Network failed on a batch")
    assert "cannot be saved" in first["unsaved"]
    assert len(list((tmp_path / "watched" / "affinity").iterdir())) == 4
