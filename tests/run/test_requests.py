"""What a run asks the Hub for: analyses that are cached ask for commits, once each, whatever the processes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.images.open import locate_images
from hf_affscore.models.evaluation import device_of
from hf_affscore.models.loading import locate_model
from hf_affscore.options import Options
from hf_affscore.run.metadata import asked
from hf_affscore.run.processes import Processes
from hf_affscore.run.resume import ResumeCache
from tests.hub import LocalHub
from tests.processes import torchrun

MODELS = [f"ada/net-{number}" for number in range(64)]


def fill_cache() -> None:
    """A finished analysis of each model in the cache."""
    signature = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=8, cache=False, progress=False)
    options = Options(num_samples=8)
    images = locate_images("ada/images", options)
    for model in MODELS:
        key = asked(locate_model(model, options), {}, images, options, device_of(options))
        cached = ResumeCache.open(key, Processes())
        cached.finish(signature, {})
        cached.close()


@pytest.mark.slow
def test_two_processes_ask_once_for_each_commit_of_what_is_cached(hub: LocalHub, tmp_path: Path) -> None:
    hub.add("dataset", "ada/images", DEMO_DATASET)
    for model in MODELS:
        hub.add("model", model, {"config.json": (Path(DEMO_MODEL) / "config.json").read_bytes()})
    settings = {"HF_AFFSCORE_CACHE": str(tmp_path / "cache")}
    # In a process of its own: what other tests have set in this one is part of the cache's key.
    filled = hub.run(
        "-c",
        "from tests.run.test_requests import fill_cache; fill_cache()",
        home=tmp_path,
        settings=settings,
    )
    assert filled.returncode == 0, filled.stderr
    hub.log.clear()
    hub.fail("GET", "/api/datasets/ada/images$", 429, retry_after=1)
    hub.fail("GET", f"/api/models/{MODELS[7]}$", 429, times=2, retry_after=1)
    command = [*torchrun(2)[1:], "-m", "hf_affscore", "analyze", *MODELS, "--dataset", "ada/images"]
    done = hub.run(*command, "--num-samples", "8", "--json", home=tmp_path, settings=settings)
    assert done.returncode == 0, done.stderr
    assert len([each for each in json.loads(done.stdout) if each["signature"]]) == 64
    # The commit of each model, and its files, which say whether it is an adapter whose base has a commit too.
    files = [f"/api/models/{model}/revision/{hub.repo('model', model).refs['main']}" for model in MODELS]
    expected = Counter([*(f"/api/models/{model}" for model in MODELS), *files, "/api/datasets/ada/images"])
    waited = Counter({"/api/datasets/ada/images": 1, f"/api/models/{MODELS[7]}": 2})
    assert Counter(line.path for line in hub.log) == expected + waited
    shutil.rmtree(tmp_path / "cache")
