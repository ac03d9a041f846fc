"""No access token is shown: not in an error, its cause, a warning or a log, whatever the token looks like."""

from __future__ import annotations

import subprocess
import traceback
import warnings
from pathlib import Path

import pytest

import hf_affscore as ha
from hf_affscore import errors
from hf_affscore.assets import DEMO_DATASET
from hf_affscore.compat import client_error
from hf_affscore.errors import AffscoreError, AffscoreWarning, DatasetError, HubError, InputError, redacted
from hf_affscore.hub import failures_named
from hf_affscore.images.decoding import Undecodable, decode
from hf_affscore.options import Options
from hf_affscore.run.processes import Processes
from hf_affscore.tokens import checked_token
from tests.hub import LocalHub
from tests.publish.samples import signature

REAL = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
REPO = "ada/signatures"


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_used", set())


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\n{}", "{}", "{}\u2028", "\u00a0{}"])
def test_white_space_around_a_token_is_none_of_it(hub: LocalHub, around: str) -> None:
    token = hub.token("ada")
    signature().push_to_hub(REPO, token=around.format(token), private=True)
    assert ha.load_signatures(REPO, token=around.format(token)) == [signature()]
    assert Options(token=around.format(token)).token == token


BAD = ["hf_secret\nhf_secret", "hf_sec ret", "hf_secrét", "hf_secret\x00", "hf_secret\u200b", "“hf_secret”"]


@pytest.mark.parametrize("token", ["", " ", "\n", *BAD, b"hf_secret", 17])
def test_what_cannot_be_a_token_is_refused_and_not_shown(hub: LocalHub, token: object) -> None:
    for use in (
        lambda: signature().push_to_hub(REPO, token=token),  # type: ignore[arg-type]
        lambda: ha.load_signatures(REPO, token=token),  # type: ignore[arg-type]
        lambda: ha.update_model_card(signature(), "ada/net", token=token),  # type: ignore[arg-type]
        lambda: ha.analyze("ada/net", "ada/images", token=token, cache=False),  # type: ignore[arg-type]
        lambda: ha.inspect("ada/net", token=token),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=r"^token (is|has) .*expected") as error:
            use()
        shown = "".join(traceback.format_exception_only(error.value))
        assert "sec" not in shown
        assert error.value.__cause__ is None
    assert not hub.log


@pytest.mark.parametrize("token", ["hf_secrét", "hf_sec ret", "hf_secret\x01"])
def test_the_token_of_the_environment_or_the_login_is_not_shown(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str
) -> None:
    with monkeypatch.context() as variable:
        variable.setenv("HF_TOKEN", token)
        refused_quietly(hub)
    (tmp_path / "token").write_text(token)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    refused_quietly(hub)


def refused_quietly(hub: LocalHub) -> None:
    with pytest.raises(InputError, match="HF_TOKEN, or that of the stored login, has spaces") as error:
        signature().push_to_hub(REPO)
    assert "sec" not in "".join(traceback.format_exception(error.value)[-1:])
    assert not hub.log


@pytest.mark.parametrize("source", ["given", "environment", "login", "looks"])
def test_a_foreign_text_that_quotes_a_token_is_redacted(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    token = REAL if source == "looks" else f"a-{source}-token-of-another-kind"
    if source == "given":
        checked_token(token)
    elif source == "environment":
        monkeypatch.setenv("HF_TOKEN", token)
    elif source == "login":
        (tmp_path / "token").write_text(token)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        with pytest.raises(AffscoreError):
            ha.load_signatures(REPO)
    inner = ValueError(f"header {token}")
    with pytest.raises(HubError) as error, failures_named("dataset", REPO, publishing=True):
        raise client_error()(f"Illegal header value b'Bearer {token}'") from inner
    whole = "".join(traceback.format_exception(error.value))
    assert token not in whole
    assert "[token]" in str(error.value)
    for kind in (DatasetError, AffscoreWarning):
        assert token not in str(kind(f"failed: {token}"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(f"failed: {token}", AffscoreWarning, stacklevel=1)
    assert token not in str(caught[0].message)


def test_what_is_recorded_of_others_errors_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(f"no access with {REAL}")

    monkeypatch.setattr("PIL.Image.open", fail)
    with pytest.raises(Undecodable) as reason:
        decode({"bytes": b"x", "path": "cat.png"})
    assert str(reason.value) == "no access with [token] (cat.png)"
    monkeypatch.setattr("hf_affscore.run.many.run", fail)
    [failed] = ha.analyze_many(["ada/net"], DEMO_DATASET)
    assert str(failed.error).startswith("OSError: no access with [token].")
    assert REAL not in str(Processes()._sendable(OSError(REAL)))


def test_a_cause_without_a_token_is_kept() -> None:
    with pytest.raises(HubError) as error, failures_named("dataset", REPO, publishing=True):
        raise client_error()("refused")
    assert isinstance(error.value.__cause__, client_error())


def test_other_words_stay() -> None:
    for text in ("hf_affscore.publish.commit", "hf_hub_download", "hf_xet", "`hf auth login`", "a" * 40):
        assert redacted(text) == text
    checked_token("to")
    assert redacted("go to the Hub") == "go to the Hub"


def test_nothing_of_a_command_shows_its_token(hub: LocalHub, tmp_path: Path) -> None:
    folder = signature().save_pretrained(tmp_path / "saved")
    log = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}

    def run(*arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        return hub.run("-m", "hf_affscore", *arguments, home=tmp_path, token=token, settings=log)

    for done in (
        run("push", str(folder), REPO, "--token", f"{REAL}\n"),
        run("push", str(folder), REPO, token=REAL),
        run("card", str(folder), "ada/net", "--token", f"{REAL} {REAL}"),
        run("analyze", "ada/net", "--dataset", "ada/images", "--token", f"\n{REAL}é"),
    ):
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert REAL not in done.stdout + done.stderr
