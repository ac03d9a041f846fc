"""Without an optional package everything else works, and what needs it names the line that installs it."""

import subprocess
import sys

import pytest

from hf_affscore.errors import AffscoreError, MissingPackageError
from hf_affscore.extras import EXTRAS, is_installed, require


def without(packages, code, folder):
    """Run ``code`` in a fresh process in which the packages cannot be imported."""
    missing = "".join(f"sys.modules[{name!r}] = None\n" for name in packages)
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{missing}{code}"],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )


def test_what_is_missing_is_named_with_its_install_line(monkeypatch):
    for package, (extra, _) in EXTRAS.items():
        monkeypatch.setitem(sys.modules, package, None)
        assert not is_installed(package)
        with pytest.raises(MissingPackageError, match=rf"pip install 'hf-affscore\[{extra}\]'") as found:
            require(package)
        assert isinstance(found.value, AffscoreError)
        assert isinstance(found.value, ImportError)


def test_the_demo_runs_without_any_extra(tmp_path):
    """All but the picture."""
    done = without(EXTRAS, "from hf_affscore.cli import main; main(['demo'])", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "19 scores" in done.stdout
    assert "picture" not in done.stdout
    assert sorted(path.name for path in (tmp_path / "affscore-demo").iterdir()) == [
        "signature.json",
        "signature.parquet",
    ]


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("ha.Signature((), (), {}).plot()", "plots"),
        ("ha.compare([one, one])", "compare"),
        ("import hf_affscore.plots", "plots"),
    ],
)
def test_what_needs_an_extra_says_so(code, extra, tmp_path):
    made = (
        "import hf_affscore as ha\nfrom hf_affscore.signature import Record\n"
        "one = ha.Signature((Record(affinity_score=0.5),), (), {'model': {'id': 'a'}})\n"
    )
    done = without(EXTRAS, made + code, tmp_path)
    assert done.returncode == 1
    assert f"pip install 'hf-affscore[{extra}]'" in done.stderr.splitlines()[-1]


def test_scores_need_numpy_and_scipy_only(tmp_path):
    heavy = (
        *EXTRAS,
        "torch",
        "transformers",
        "datasets",
        "evaluate",
        "accelerate",
        "pandas",
        "pyarrow",
        "rich",
    )
    code = (
        "import hf_affscore as ha; print(ha.affinity_score([[0.0], [1.0], [2.0]], [[0.0], [1.0], [4.0]]) < 1)"
    )
    done = without(heavy, code, tmp_path)
    assert done.stdout.strip() == "True", done.stderr
