"""Models and data sets that are not there, or not for everybody, over real HTTP."""

import pytest

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import DatasetError, ModelError


def test_an_unknown_model_is_one_sentence(hub):
    with pytest.raises(ModelError, match=r"'nobody/nothing' was not found.*(?i:check the spelling)"):
        ha.analyze("nobody/nothing", "noise")


def test_an_unknown_data_set_is_one_sentence(hub):
    with pytest.raises(DatasetError, match=r"'nobody/nothing' was not found.*(?i:check the spelling)"):
        ha.analyze(DEMO_MODEL, "nobody/nothing")


def test_an_unknown_revision_is_named(hub):
    hub.add("model", "ada/net", {"config.json": b"{}"})
    with pytest.raises(ModelError, match=r"ada/net.*no revision 'v9'"):
        ha.analyze("ada/net", DEMO_DATASET, revision="v9")
