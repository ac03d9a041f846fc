"""Lists of images (``metadata.csv`` and the like): what they choose, and what is said where they choose nothing."""

from collections import Counter

import pandas
import pytest

from tests.images.test_layouts import colours_of, make, numbered, said

NO_NAMES = {
    "metadata.csv": "image_id,label\n0,a\n1,b\n",
    "metadata.jsonl": '{"isic_id": "0", "label": 1}\n',
    "train/metadata.csv": "id;label\n0;1\n",
    "METADATA.CSV": "",
    "deep/metadata.csv": 'file_name,t\n0.png,a,b,c\n"x',
}


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("where", ["here", "on the hub"])
def test_a_list_without_names_chooses_nothing_and_that_is_said(name, where, tmp_path, hub):
    place = name.rpartition("/")[0]
    expected = make(tmp_path, *numbered(place, 6))
    (tmp_path / name).write_text(NO_NAMES[name])
    if where == "on the hub":
        hub.add("dataset", "ada/listed", tmp_path)
    found, [sentence] = said(lambda: colours_of(tmp_path if where == "here" else "ada/listed"))
    assert Counter(found) == Counter(expected.values())
    assert name in sentence
    assert "All images that it covers are used" in sentence


def test_a_list_of_one_split_says_nothing_of_the_other(tmp_path):
    train, test = make(tmp_path, *numbered("train", 6)), make(tmp_path, *numbered("test", 4))
    (tmp_path / "train" / "metadata.csv").write_text("file_name,t\n1.png,a\n")
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(test.values())
    assert "5 of the 10 images" in sentence or "5 of the 6 images" in sentence
    assert colours_of(tmp_path, split="train") == [train["train/1.png"]]


def test_lists_of_two_formats_are_both_read(tmp_path):
    colours = make(tmp_path, *numbered("a", 3), *numbered("b", 3))
    (tmp_path / "a" / "metadata.csv").write_text("file_name\n0.png\n2.png\n")
    (tmp_path / "b" / "metadata.jsonl").write_text('{"file_name": "1.png"}\n')
    assert colours_of(tmp_path) == [colours[name] for name in ("a/0.png", "a/2.png", "b/1.png")]


def test_a_list_in_parquet_and_one_above_the_folder_of_the_images(tmp_path):
    colours = make(tmp_path, *numbered("images", 3))
    pandas.DataFrame({"file_name": ["images/2.png", "images/0.png"]}).to_parquet(
        tmp_path / "metadata.parquet"
    )
    assert sorted(colours_of(tmp_path)) == sorted([colours["images/2.png"], colours["images/0.png"]])


def test_a_listed_image_that_is_not_there_is_a_missing_image(tmp_path):
    colours = make(tmp_path, *numbered("", 2))
    (tmp_path / "metadata.csv").write_text("file_name\n0.png\ngone.png\n1.png\n../outside.png\n/etc/x.png\n")
    assert sorted(map(str, colours_of(tmp_path))) == sorted(map(str, [*colours.values(), None]))


@pytest.mark.parametrize("names", ["x.png\ny.png", "images/0\nimages/1", "0\n1"])
def test_a_list_that_names_no_file_of_the_folder_chooses_nothing(names, tmp_path):
    expected = make(tmp_path, *numbered("images", 2))
    (tmp_path / "metadata.csv").write_text(f"file_name\n{names}\n")
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(expected.values())
    assert "metadata.csv" in sentence
    assert "names no file that is there" in sentence


def test_lists_of_several_images_in_a_row(tmp_path):
    colours = make(tmp_path, *numbered("", 4))
    (tmp_path / "metadata.csv").write_text("left_file_name,right_file_name\n0.png,1.png\n")
    found, [sentence] = said(lambda: colours_of(tmp_path, image_column="right"))
    assert found == [colours["1.png"]]
    assert "2 of the 4 images" in sentence
