"""What SKILL.md and llms.txt tell coding assistants is true: names, parameters, fields."""

from __future__ import annotations

import inspect
import re

import pytest
import yaml

import hf_affscore as ha
from hf_affscore import errors
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from tests.docs.pages import ROOT

LLMS = (ROOT / "docs" / "llms.txt").read_text()
SKILL = (ROOT / "SKILL.md").read_text()
CALL = re.compile(r"\bha\.([\w.]+)\(([^)]*)\)")
#: ``ha.name(a, b, *, c)`` at the start of an entry states the whole signature.
STATED = re.findall(r"^- ha\.([\w.]+)\(([^)]*)\)", LLMS, re.MULTILINE)


def resolve(path: str) -> object:
    value: object = ha
    for part in path.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(("path", "stated"), STATED, ids=[path for path, _ in STATED])
def test_the_stated_parameters_are_the_real_ones(path, stated):
    spelt, keywords = [], False
    for name, parameter in inspect.signature(resolve(path)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            spelt.append("*")
            keywords = True
        spelt.append(f"**{name}" if parameter.kind is parameter.VAR_KEYWORD else name)
    spelt = [name for name in spelt if name != "self"]
    assert stated == ", ".join(spelt)


def test_every_public_name_is_stated():
    functions = {name for name in ha.__all__ if inspect.isfunction(getattr(ha, name))}
    assert functions <= {path for path, _ in STATED}
    assert [name for name in ha.__all__ if not re.search(rf"\bha\.{name}\b", LLMS)] == []


def test_every_name_exists():
    for path in set(re.findall(r"\bha\.([A-Za-z_][\w.]*\w)", LLMS + SKILL)):
        instance = path in (
            "Signature.rows",
            "Signature.skipped",
            "Signature.metadata",
        )  # fields of a dataclass
        assert instance or resolve(path) is not None, path
    for name in re.findall(r"hf_affscore\.errors\.(\w+)", LLMS):
        assert name in errors.__all__


def test_the_fields_and_members_exist():
    sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=8)
    fields = re.search(r"ha\.Signature\.rows: .*?: (.*)", LLMS)[1].split(", ")
    assert set(fields) <= set(sig.rows[0])
    summary = re.search(r"ha\.Signature\.summary\(\): dict: (.*)", LLMS)[1].split(", ")
    assert summary == list(sig.summary())
    returned = {
        "inspect": ha.inspect(DEMO_MODEL),
        "compare": ha.compare([sig]),
        "analyze_many": ha.analyze_many(["no/such/model"], DEMO_DATASET)[0],
    }
    for name, value in returned.items():
        entry = re.search(rf"^- ha\.{name}\(.*?\): (.*)", LLMS, re.MULTILINE)[1]
        members = re.findall(r"(?<!\w)\.(\w+)", entry)
        assert members
        assert [member for member in members if not hasattr(value, member)] == []


def test_the_skill_has_the_front_matter_that_assistants_look_for():
    head = yaml.safe_load(SKILL.split("---")[1])
    assert head["name"] == "hf-affscore"
    assert 50 < len(head["description"]) <= 1024
