"""The sets of libraries that CI installs are those that pyproject.toml and the tests speak of."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.release.building import ROOT
from tests.versions import is_older

NEEDS = re.compile(r'\bneeds\(\s*"([\w-]+)",\s*"([\d.]+)"')


def pins(name: str) -> dict[str, Version]:
    """The versions of a file of pins."""
    lines = (ROOT / ".ci" / name).read_text(encoding="utf-8").splitlines()
    found = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return {each.name: Version(str(each.specifier).removeprefix("==")) for each in found}


def bounds() -> dict[str, Version]:
    """The lower bounds of everything that a plain installation and its extras need, other than Gradio."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = map(Requirement, project["dependencies"] + extras["plots"] + extras["compare"] + extras["timm"])
    found = {}
    for each in needed:
        (lowest,) = (one.version for one in each.specifier if one.operator == ">=")
        found[each.name] = Version(lowest)
    return found


def test_the_lowest_set_is_the_lower_bounds():
    """A bound that is lowered or raised without `make pins` is noticed here."""
    lowest = pins("lowest.txt")
    assert {name: lowest[name] for name in bounds()} == bounds()


def test_the_middle_set_lies_between_and_is_the_machine_that_must_work():
    middle = pins("middle.txt")
    assert all(bound <= middle[name] for name, bound in bounds().items())
    exact = {"torch": "2.11.0", "torchvision": "0.26.0", "transformers": "5.17.0", "accelerate": "1.15.0"}
    exact["huggingface-hub"] = "1.33.0"
    assert {name: str(middle[name]) for name in exact} == exact


def test_no_test_is_left_out_with_the_newest_libraries():
    """This folder runs with those only."""
    paths = (ROOT / "tests").rglob("*.py")
    found = {pair for path in paths for pair in NEEDS.findall(path.read_text(encoding="utf-8"))}
    assert found
    assert [pair for pair in found if is_older(*pair)] == []
