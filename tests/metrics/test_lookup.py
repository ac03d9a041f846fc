"""Every way in which evaluate finds the metric, each in a new process and a new home, against the local Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_affscore.metrics import FOLDER, NAME

pytestmark = (
    pytest.mark.slow
)  # importing evaluate takes 6 s of a free core, and each test starts one to three processes

OFFLINE = {"HF_EVALUATE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
TRY = f"""
metric = evaluate.load({NAME!r})
x = [[-1.0], [0.0], [1.0], [3.0]]
print(metric.compute(predictions=x, references=x)["affinity_score"] > 0.999)
"""


def test_by_name_once_the_package_is_imported(hub, tmp_path):
    """Without asking the Hub; and the import system is then as it was."""
    code = f"""
import sys
finders = list(sys.meta_path)
import hf_affscore
print(len(sys.meta_path) - len(finders))
import evaluate
print(len([finder for finder in sys.meta_path if "hf_affscore" in type(finder).__module__])){TRY}"""
    done = hub.run("-c", code, home=tmp_path)
    assert done.stdout.split() == ["1", "0", "True"], done.stderr
    assert not hub.log


def test_by_name_when_evaluate_came_first(hub, tmp_path):
    code = f"""
import evaluate
try:
    evaluate.load({NAME!r})
except FileNotFoundError:
    print("not yet")
import hf_affscore{TRY}
try:
    evaluate.load({NAME!r}, revision="v1")
except FileNotFoundError:
    print("a revision is the Hub's")
"""
    hub.store.missing = 404
    done = hub.run("-c", code, home=tmp_path)
    assert done.stdout.splitlines() == ["not yet", "True", "a revision is the Hub's"], done.stderr


def test_by_name_without_the_package_once_it_is_installed(hub, tmp_path):
    installed = hub.run("-m", "hf_affscore", "metric", "install", home=tmp_path)
    assert Path(installed.stdout.strip()).is_file(), installed.stderr
    assert not hub.log

    hub.store.missing = 404
    # To a person who is not logged in the Hub says 401 where there is no Space.
    hub.fail("HEAD", f"/spaces/evaluate-metric/{NAME}/", 401)
    done = hub.run("-c", f"import evaluate{TRY * 2}", home=tmp_path)
    assert done.stdout.split() == ["True", "True"], done.stderr
    assert {request.status for request in hub.log} == {401, 404}

    done = hub.run("-c", f"import evaluate{TRY}", home=tmp_path, settings=OFFLINE)
    assert done.stdout.split() == ["True"], done.stderr


def test_by_its_path_and_a_folder_of_that_name_goes_first(hub, tmp_path):
    mine = tmp_path / NAME
    mine.mkdir()
    (mine / f"{NAME}.py").write_text(
        (FOLDER / f"{NAME}.py").read_text().replace('"dim": ', '"mine": True, "dim": ')
    )
    code = f"""
import evaluate
x = [[-1.0], [0.0], [1.0], [3.0]]
packaged = evaluate.load({str(FOLDER)!r})
print("mine" in packaged.compute(predictions=x, references=x))
import hf_affscore, os
print("mine" in evaluate.load({NAME!r}).compute(predictions=x, references=x))
os.chdir("/")
print("mine" in evaluate.load({NAME!r}).compute(predictions=x, references=x))
"""
    done = hub.run("-c", code, home=tmp_path, settings=OFFLINE)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr


def test_from_the_space_of_a_user(hub, tmp_path):
    published = hub.run(
        "-m", "hf_affscore", "metric", "publish", f"ada/{NAME}", home=tmp_path, token=hub.token("ada")
    )
    assert published.stdout.strip() == f"{hub.endpoint}/spaces/ada/{NAME}", published.stderr
    files = hub.files("space", f"ada/{NAME}")
    assert set(files) == {"README.md", "index.html", f"{NAME}.py"}
    assert files[f"{NAME}.py"] == (FOLDER / f"{NAME}.py").read_bytes()

    code = f"import evaluate{TRY}".replace(NAME, f"ada/{NAME}", 1)
    done = hub.run("-c", code, home=tmp_path)
    assert done.stdout.split() == ["True"], done.stderr

    absent = 'import sys; sys.modules["hf_affscore"] = None\n'
    done = hub.run("-c", absent + code, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: The metric affinity_signature computes with the package hf-affscore, which is not installed "
        "here: run `pip install hf-affscore`."
    )
