"""The command line: what goes to stdout, what to stderr, and what a person reads when something is wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli import main

SHORT = [str(DEMO_MODEL), "--dataset", str(DEMO_DATASET), "--num-samples", "32"]


def run(capsys, *argv):
    """Exit code, stdout and stderr of one call."""
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    out, err = capsys.readouterr()
    code = stop.value.code
    if isinstance(code, str):  # sys.exit("message") prints it only when the interpreter ends
        code, err = 1, err + code
    return code or 0, out, err


def test_analyze_prints_the_table_and_the_summary(capsys):
    code, out, _ = run(capsys, "analyze", *SHORT)
    assert code == 0
    assert "digits-resnet on 32 images of digits (test)" in out
    assert "\nmodule names without their common beginning resnet.\n" in out
    lines = [line.split() for line in out.splitlines() if " ReLU " in line]
    assert len(lines) == 19
    index, module, activation, width, score, error, bar = lines[0]
    assert (index, module, activation, width) == ("0", "embedder.embedder.activation", "ReLU", "8")
    assert bar.count("█") == round(float(score) * 20)
    assert 0 < float(error.removeprefix("±")) < 0.1
    # Those of 32 features have no more images than features: no bar, and no part of the summary.
    assert out.count(" few samples\n") == 6
    assert "\n13 scores   min" in out
    assert " ±" in out.split("median")[1].split("mean")[0]
    assert (
        "\n13 of 19 scores are evidence: 6 have no more images than features.\nCompare with scores of 32 "
        in out
    )
    assert "\nNext: num_samples=64 or more images.\n" in out


def test_json_is_one_document_and_nothing_else(capsys):
    code, out, _ = run(capsys, "analyze", *SHORT, "--json")
    document = json.loads(out)
    assert code == 0
    assert len(document["rows"]) == 19
    sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, cache=False)
    assert [row["affinity_score"] for row in document["rows"]] == sig.scores.tolist()
    assert document["verdict"] == list(sig.verdict)


def test_output_and_plot_are_saved(capsys, tmp_path):
    folder, picture = tmp_path / "signature", tmp_path / "picture.svg"
    _, out, _ = run(capsys, "analyze", *SHORT, "--output", str(folder), "--plot", str(picture))
    assert len(ha.Signature.from_pretrained(folder).rows) == 19
    assert picture.read_text().lstrip().startswith("<?xml")
    assert str(folder) in out
    assert str(picture) in out
    assert (folder / "signature.png").stat().st_size > 10_000


@pytest.mark.parametrize("models", [1, 2])
def test_what_cannot_be_saved_is_printed(capsys, tmp_path, monkeypatch, models):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hf_affscore.signature.write_atomically", full)
    arguments = [
        *SHORT[:1] * models,
        *SHORT[1:],
        "--no-cache",
        "--json",
        "--output",
        str(tmp_path / "signature"),
    ]
    code, out, err = run(capsys, "analyze", *arguments)
    assert code == 1
    assert "could not be written to" in err
    assert "No space left on device" in err
    document = json.loads(out)
    assert all(
        len(each["rows"]) == 19
        for each in ([document] if models == 1 else [d["signature"] for d in document])
    )


def test_demo_saves_prints_and_says_what_to_type_next(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "demo")
    assert code == 0
    assert ha.Signature.from_pretrained("affscore-demo").metadata["dataset"]["num_samples"] == 512
    assert (tmp_path / "affscore-demo" / "signature.png").stat().st_size > 10_000
    assert "hf-affscore analyze" in out


def test_groups_are_said(capsys):
    code, out, _ = run(capsys, "analyze", *SHORT[:-2], "--num-samples", "all", "--group-size", "100")
    assert code == 0
    assert "means over 5 groups of 100 images, which deviate by up to 0.0" in out
    assert "; 12 images, too few for a group, are left out" in out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            ["analyze", *SHORT, "--num-sample", "3"],
            "there is no option --num-sample. Did you mean '--num-samples'?",
        ),
        (["analyze", *SHORT, "--pooling", "max"], "--pooling is 'max'; expected one of paper, channels"),
        (["analyze", *SHORT, "--num-samples", "many"], "expected a whole number or all, received 'many'"),
        (["analyze", str(DEMO_MODEL)], "--dataset"),
        (["analyse"], "COMMAND is 'analyse'; expected one of analyze, demo"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(capsys, argv, sentence):
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert out == ""
    assert sentence in err


def test_errors_exit_with_1_and_one_sentence(capsys):
    code, out, err = run(capsys, "analyze", str(DEMO_MODEL), "--dataset", str(DEMO_DATASET), "--split", "dev")
    assert (code, out) == (1, "")
    assert "hf-affscore: error: The folder" in err
    assert "has no split 'dev'; it has test." in err


def test_warnings_are_sentences_on_stderr(capsys, monkeypatch, recwarn):
    code, out, err = run(capsys, "analyze", *SHORT[:-1], "5000", "--json")
    assert code == 0
    assert json.loads(out)["metadata"]["dataset"]["num_samples"] == 512
    assert "512 usable images, fewer than num_samples = 5000" in err + str([str(w.message) for w in recwarn])


def test_help_names_every_option_with_its_default(capsys):
    code, out, _ = run(capsys, "analyze", "--help")
    assert code == 0
    assert "(default: 2048)" in " ".join(out.split())


@pytest.fixture
def offline(tmp_path):
    """A fresh home, no cache, and a Hub that nobody answers for."""
    return {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }


@pytest.mark.parametrize(
    ("model", "dataset", "sentence"),
    [
        (
            "nobody/nothing",
            "noise",
            "Model 'nobody/nothing' is neither a local folder nor in the local cache, and the Hub could not be "
            "reached",
        ),
        (
            str(DEMO_MODEL),
            "nobody/nothing",
            "Data set 'nobody/nothing' is neither a local folder nor in the local cache",
        ),
        ("a/b/c", "noise", "error: Model 'a/b/c' is neither a local folder nor a Hub id"),
        (
            "net",
            "noise",
            "There is no folder 'net' here. Did you mean 'nets'? As a Hub id: Model 'net' is",
        ),
        (
            str(DEMO_MODEL),
            "imgz",
            "There is no file or folder 'imgz' here. Did you mean 'imgs'? As a Hub id: Data",
        ),
        (
            str(DEMO_MODEL),
            "imgs/tran",
            "There is no file or folder 'tran' in imgs. Did you mean 'train'? As a Hub",
        ),
    ],
)
def test_offline_with_nothing_cached_is_one_sentence(offline, tmp_path, model, dataset, sentence):
    for folder in ("nets", "imgs/train"):
        (tmp_path / folder).mkdir(parents=True)
    command = [sys.executable, "-m", "hf_affscore", "analyze", model, "--dataset", dataset]
    done = subprocess.run(
        command, cwd=tmp_path, env=offline, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--output", "{file}"], "is not a folder. Choose another place"),
        (["--output", "{file}/deeper/still"], "is not a folder. Choose another place"),
        (["--plot", "{file}/picture.svg"], "is not a folder. Choose another place"),
        (["--plot", "picture.gif"], "ends in '.gif'; expected .png, .svg, .pdf"),
    ],
)
def test_results_that_have_nowhere_to_go_are_refused_before_the_work(
    capsys, tmp_path, monkeypatch, asked, message
):
    def analyze(*_, **__):
        raise AssertionError("the work was begun")

    monkeypatch.setattr("hf_affscore.run.analyze.analyze", analyze)
    file = tmp_path / "file"
    file.write_text("")
    code, out, err = run(capsys, "analyze", *SHORT, *(word.format(file=file) for word in asked))
    assert (code, out) == (1, "")
    assert message in err


def test_the_folder_of_a_picture_is_made(capsys, tmp_path):
    picture = tmp_path / "new" / "folder" / "signature.svg"
    code, _, _ = run(capsys, "analyze", *SHORT, "--plot", str(picture))
    assert code == 0
    assert picture.exists()


LISTING = [sys.executable, "-m", "hf_affscore", "cache", "ls"]


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 141, ""),
        (">&-", 0, ""),
        (">/dev/full", 1, "hf-affscore: error: the output could not be written: "),
    ],
)
def test_output_that_nobody_takes(redirection, code, said, tmp_path):
    """Nothing like a traceback, whatever became of the other end."""
    (tmp_path / "0123456789abcdef").mkdir()
    command = f"(sleep 0.3; {' '.join(LISTING)}) {redirection}"
    environment = {**os.environ, "HF_AFFSCORE_CACHE": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


def test_characters_that_a_terminal_lacks_do_not_stop_the_output(tmp_path):
    environment = {**os.environ, "HF_AFFSCORE_CACHE": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    code = "from hf_affscore.cli import _prepare_stdout; _prepare_stdout(); print('\\u2500x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "?x\n"


def test_an_interrupted_command_has_its_exit_code_whatever_happens_while_python_ends():
    code = (
        "import os, signal, sys\n"
        "from types import SimpleNamespace\n"
        "from hf_affscore import cli\n"
        "def run(arguments): raise KeyboardInterrupt\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid()): kill(pid, 2)\n"
        "late = Late()\n"
        "cli.parser = lambda: SimpleNamespace(parse_args=lambda argv: SimpleNamespace(run=run))\n"
        "cli.main([])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nhf-affscore: interrupted\n")


def test_several_models_have_a_line_each_and_a_folder_each(capsys, tmp_path):
    models, images = [str(DEMO_MODEL), str(tmp_path / "none")], ["--dataset", str(DEMO_DATASET)]
    code, out, err = run(
        capsys, "analyze", *models, *images, "--num-samples", "24", "--output", str(tmp_path / "all")
    )
    head, line, failed, *rest, saved = out.splitlines()
    assert head.split() == ["model", "scores", "median", "min", "max"]
    assert re.search(r"digits-resnet  +\d+ of 19  0\.\d{4} ±0\.\d{4}  0\.", line)
    assert failed.endswith("failed")
    assert "failed: There is no folder 'none'" in " ".join(rest)
    assert [Path(saved.removeprefix("signature: "))] == list((tmp_path / "all").iterdir())
    assert (code, "1 of 2 models could not be analysed" in err) == (1, True)
