"""The shape of the package: imports point one way, nothing imports in a circle, and importing it is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hf_affscore

PACKAGE = Path(hf_affscore.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: Leaves: anyone may import them. What they import themselves stands in ``ALLOWED``.
LEAVES = {
    "extras",
    "errors",
    "spelling",  # names the name that was meant
    "version",
    "compat",
    "retries",
    "tokens",
    "torch_settings",
    "options",
    "storage",
    "fileformat",
    "record",
    "blocks",  # read by the signature, and by what refuses blocks
    "names",
    "tables",
    "listing",  # how a signature prints itself
    "evidence",  # read by the score, which gives the word, and by everything that shows it
    "summary",
    "verdict",
    "hub",
    "checksums",
    "sources",
    "assets",
    "patches",
    "machine",
}

#: What each room may import besides itself and the leaves, function bodies included.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "spelling": set(),
    "tokens": set(),
    "version": set(),
    "torch_settings": set(),
    "compat": set(),
    "retries": set(),
    "extras": set(),
    "options": set(),
    "storage": set(),
    "record": set(),
    "blocks": set(),
    "names": set(),
    "tables": set(),
    "listing": set(),
    "evidence": set(),
    "summary": set(),
    "verdict": set(),
    "assets": set(),
    "fileformat": set(),
    "hub": set(),
    "checksums": set(),
    "sources": set(),
    "patches": set(),
    "machine": set(),
    "signature": set(),
    "reference": {"signature"},
    "score": set(),
    "capture": set(),
    "images": set(),
    "models": set(),
    "inspection": {"score", "capture", "models", "signature"},
    "publish": {"signature"},
    "run": {"score", "capture", "images", "models", "publish", "signature"},
    "simplify": {"capture", "images", "models", "inspection", "run", "signature"},
    "comparison": {"signature", "publish"},
    "plots": {"signature", "reference", "comparison"},
    "report": {"signature", "reference", "comparison", "plots"},
    "training": {"run", "images", "models", "signature", "plots"},
    "metrics": {"run", "score", "signature", "plots", "publish"},
    "spaces": {"comparison", "plots", "report", "publish", "signature"},
    "cli": {
        "inspection",
        "run",
        "simplify",
        "comparison",
        "plots",
        "report",
        "publish",
        "signature",
        "metrics",
        "spaces",
    },
    "__main__": {"cli"},
    "": {"metrics"},  # the package's own face, which is lazy; metrics.by_name is the one thing it runs
}

#: Leaves may import leaves that come before them in this order.
ORDER = [
    "errors",
    "spelling",  # names the name that was meant
    "version",
    "assets",
    "extras",
    "storage",
    "compat",
    "retries",
    "tokens",
    "torch_settings",
    "options",
    "record",
    "blocks",
    "names",
    "evidence",
    "summary",
    "verdict",
    "tables",
    "listing",
    "fileformat",
    "hub",
    "checksums",
    "sources",
    "patches",
    "machine",
]

#: The doors: where the data model reaches what stands above it, from inside a method. Each is named in the
#: comment above ``Signature`` in ``signature.py``.
DOORS = {
    ("signature", "hf_affscore.plots"),
    ("signature", "hf_affscore.publish.fetch"),
    ("signature", "hf_affscore.publish.push"),
}

#: The public names. Each is reviewed: what most people need, and nothing that a method of theirs could be.
PUBLIC = {
    *("analyze", "analyze_many", "inspect", "compare", "Signature"),
    *("affinity_score", "affinity_loss", "register_activation"),
    "linearise",  # what to do next: a network without the activations that it can do without
    *("load_rows", "load_signatures", "update_model_card"),  # what lies on disk and on the Hub
    *("track", "AffinityCallback"),  # training
}

#: The metric and the Spaces' pages are copied to the Hub as they are, and are files of their own there.
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


def room(module: str) -> str:
    """The room of the package that a dotted module name belongs to."""
    return module.removeprefix("hf_affscore").removeprefix(".").split(".")[0]


def dotted(path: Path) -> str:
    """The module name of a file of the package."""
    parts = ["hf_affscore", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path, *, bodies: bool) -> Iterator[str]:
    """Modules of this package that a file imports, for typing not counted; with or without function bodies."""
    known = {dotted(file) for file in FILES}

    def visit(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if is_for_typing(child):
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not bodies:
                continue
            if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "hf_affscore":
                for alias in child.names:
                    deeper = f"{child.module}.{alias.name}"
                    yield deeper if deeper in known else str(child.module)
            elif isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names if alias.name.split(".")[0] == "hf_affscore")
            yield from visit(child)

    return visit(ast.parse(path.read_text()))


def upward(own: str, imported: str) -> bool:
    other = room(imported)
    if other == own or other in ALLOWED[own]:
        return False
    if other not in LEAVES:
        return True
    return own in LEAVES and ORDER.index(other) >= ORDER.index(own)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = room(dotted(path))
    wrong = {name for name in imports(path, bodies=True) if upward(own, name) and (own, name) not in DOORS}
    assert not wrong, f"{own} imports {sorted(wrong)}"


def test_every_door_is_used_and_said():
    """A door that nobody uses, or that the comment in ``signature.py`` does not name, is to go."""
    path = PACKAGE / "signature.py"
    used = set(imports(path, bodies=True))
    text = path.read_text()
    comment = text[text.index("# Doors upwards") : text.index("@dataclass(frozen=True, eq=False)")]
    for _, name in DOORS:
        assert name in used
        assert name in comment


def test_nothing_imports_in_a_circle():
    """Modules that import each other when they are imported, a package's face among them."""
    arrows = {dotted(path): set(imports(path, bodies=False)) - {dotted(path)} for path in FILES}
    for name in list(arrows):  # importing a module runs the packages around it first
        parents = {name.rsplit(".", number)[0] for number in range(1, name.count("."))}
        arrows[name] -= parents - {"hf_affscore"}
    arrows["hf_affscore"] = set()  # lazy
    tuple(TopologicalSorter(arrows).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_long_file_says_why_it_is_one(path):
    text = path.read_text()
    if len(text.splitlines()) > 300:
        docstring = ast.get_docstring(ast.parse(text)) or ""
        assert "One file" in docstring, (
            f"{path.name} has over 300 lines: split it, or say why it is 'One file'"
        )


@pytest.mark.parametrize("means", ["sys.meta_path", "f_locals", "_original_forward"])
def test_other_libraries_are_patched_in_one_place(means):
    """By the means that this package uses for it."""
    assert [path.name for path in FILES if means in path.read_text()] in (["patches.py"], [])


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def own_names(tree: ast.AST) -> Iterator[str]:
    """What a file defines: functions, classes, variables and attributes of its objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == f"self.{node.attr}":
            yield node.attr


def names_of_others(tree: ast.AST) -> Iterator[str]:
    """Attributes and imports, also those that are looked up by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("hf_affscore"):
            yield from [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            yield from (
                word.value
                for word in node.args
                if isinstance(word, ast.Constant) and isinstance(word.value, str)
            )


def test_private_names_of_other_libraries_are_listed():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    own = {name for tree in trees for name in own_names(tree)}
    used = {name for tree in trees for name in names_of_others(tree) if is_private(name)}
    used -= {"_exit", "_asdict"}  # public in spite of the name
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## Private names of other libraries")[2].partition("\n## ")[0]
    listed = {word for name in re.findall("`([^`]+)`", table) for word in name.split(".") if is_private(word)}
    assert used - own <= listed <= used


def test_only_the_metric_imports_evaluate():
    importing = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "evaluate" for name in names):
                importing.add(path.name)
    assert importing == {"affinity_signature.py"}


def test_only_the_command_line_prints():
    """Whoever uses the package from Python gets values, warnings and progress; stdout is the commands'."""
    printing = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            is_print = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            )
            if is_print and not any(keyword.arg == "file" for keyword in node.keywords):
                printing.add(room(dotted(path)))
    assert printing <= {"cli", "metrics"}


def test_every_public_name_resolves():
    assert set(hf_affscore.__all__) == PUBLIC
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
