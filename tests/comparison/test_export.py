import re
from html import unescape

import pandas as pd

from hf_affscore.comparison.export import latex, latex_page, markdown

EVIL = "<script>|a_b\\&%$#{}~^\n`*[x](y)"


def frame():
    return pd.DataFrame(
        {"median": [0.5, float("nan")], "modes": [[0.53, 0.9], []], "num_parameters": [11689512, None]},
        index=pd.Index(["a/resnet", EVIL], name="network"),
    )


def test_markdown_cells():
    lines = markdown(frame()).splitlines()
    assert lines[0] == "| network | median | modes | num parameters |"
    assert lines[2] == "| a/resnet | 0.500 | 0.53, 0.9 | 11,689,512 |"
    assert len(lines) == 4


def test_no_name_breaks_out_of_a_markdown_cell():
    line = markdown(frame()).splitlines()[3]
    assert "<script>" not in line
    assert line.replace("\\|", "").count("|") == 5
    assert "\\[x\\](y)" in line


def test_no_name_becomes_a_link():
    line = markdown(
        pd.DataFrame({"m": [1.0]}, index=["www.evil.example me@evil.example ada/net#1"])
    ).splitlines()[2]
    assert not re.search(r"www\.|@e|#1", unescape(line))


def test_no_name_breaks_out_of_a_latex_cell():
    line = latex(frame()).splitlines()[5]
    for escaped in (r"\%", r"\$", r"\#", r"\_", r"\&", r"\textbackslash{}", r"\textasciitilde{}"):
        assert escaped in line
    assert line.replace(r"\&", "").count("&") == 3
    assert line.endswith(r" \\")


def test_no_note_breaks_out_of_a_latex_comment():
    page = latex_page([frame()], ["a\nnetwork", "two"])
    assert page.startswith("% Needs \\usepackage{booktabs}.\n% a network\n% two\n\\begin{tabular}")


def test_a_column_that_is_empty_for_every_network_is_left_out():
    table = pd.DataFrame(
        {"min": [0.0, 0.1], "undefined": [0, 0], "accuracy": [float("nan")] * 2, "modes": [[], [0.5]]},
        index=pd.Index(["a", "b"], name="network"),
    )
    assert latex(table).splitlines()[2] == r"network & min & modes \\"
    assert markdown(table).splitlines()[2] == "| a | 0.000 |  |"
