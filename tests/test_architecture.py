"""The shape of the package: imports point one way, and importing it is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hf_affscore

PACKAGE = Path(hf_affscore.__file__).parent

#: What each part may import at module level, besides itself. Anything not listed is a leaf: anyone may import it.
ALLOWED = {
    "score": set(),
    "capture": set(),
    "signature": set(),
    "run": {"score", "capture", "signature"},
    "comparison": {"signature"},
    "plots": {"signature", "comparison"},
    "report": {"signature", "comparison"},
    "tables": {"signature"},
    "publish": {"signature"},
    "training": {"run", "signature", "tables"},
    "metrics": {"run", "score", "signature", "plots", "publish", "tables"},
    "spaces": {"comparison", "plots", "report", "publish"},
}
LEAVES = {"errors", "fileformat", "options", "storage", "hub", "assets", ""}
HEAVY = [
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "matplotlib",
    "accelerate",
    "timm",
    "scipy",
    "pandas",
]


def part(module: str) -> str:
    """The part of the package that a dotted module name belongs to."""
    return module.removeprefix("hf_affscore").removeprefix(".").split(".")[0]


def runtime_imports(path: Path) -> set[str]:
    """Modules of this package that a file imports when it is imported (not for typing, not inside functions)."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hf_affscore"):
            found |= {
                f"{node.module}.{alias.name}" if node.module == "hf_affscore" else node.module
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("hf_affscore")}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = part(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    if own not in ALLOWED:
        return
    imported = {part(name) for name in runtime_imports(path)} - LEAVES - {own}
    upward = {name for name in imported if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()}
    assert upward <= ALLOWED[own], f"{own} imports {sorted(upward - ALLOWED[own])}"


def test_only_the_metric_imports_evaluate():
    importing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "evaluate" for name in names):
                importing.add(path.name)
    assert importing == {"affinity_signature.py"}


def test_every_public_name_resolves():
    assert len(hf_affscore.__all__) <= 12
    for name in hf_affscore.__all__:
        assert getattr(hf_affscore, name) is not None
    with pytest.raises(AttributeError, match="it has"):
        hf_affscore.analyse  # noqa: B018


def test_importing_the_package_or_the_command_line_loads_nothing_heavy():
    code = (
        "import sys, hf_affscore, hf_affscore.cli; hf_affscore.cli.parser(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
