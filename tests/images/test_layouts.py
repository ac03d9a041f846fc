"""Folders as people have them: which files are the images, of which split, and what is said of the rest."""

import json
import os
import warnings
from collections import Counter

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_affscore.errors import AffscoreWarning, DatasetError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.layouts import files_below, layout_of
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.options import Options


def make(folder, *names):
    """Images, each of a colour of its own; their paths with their colours."""
    colours = {}
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colours[name] = tuple(np.random.default_rng(list(name.encode())).integers(0, 256, 3).tolist())
        Image.new("RGB", (9, 8), colours[name]).save(path, "PNG")
    return colours


def numbered(place, count=4, form="{}.png"):
    return [f"{place}/{form.format(number)}" if place else form.format(number) for number in range(count)]


def colours_of(dataset, **options):
    asked = Options(**{"shuffle": False, **options})
    stream = open_images(locate_images(dataset, asked), asked, lambda: (3, 4, 5))
    found = []
    for _, [item] in stream.fetched((None, [item]) for item in stream.items):
        try:
            found.append(stream.decode(item).getpixel((0, 0)))
        except Undecodable:
            found.append(None)
    return found


def said(run):
    """What a call returns, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run()
    return found, [str(one.message) for one in caught if one.category is AffscoreWarning]


def uses(folder, expected, **options):
    """Whether a folder gives these colours, without a word."""
    found, sentences = said(lambda: colours_of(folder, **options))
    assert Counter(found) == Counter(expected)
    assert sentences == []
    return True


# detection and segmentation


def test_yolo(tmp_path):
    for split in ("train", "val"):
        make(tmp_path, *numbered(f"images/{split}", form="{}.jpg"))
        (tmp_path / "labels" / split).mkdir(parents=True)
        for number in range(9):
            (tmp_path / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("names: [a]\n")
    (tmp_path / "classes.txt").write_text("a\n")
    val = make(tmp_path, *numbered("images/val", form="{}.jpg"))
    assert uses(tmp_path, val.values())
    assert len(colours_of(tmp_path, split="train")) == 4


def test_yolo_without_splits(tmp_path):
    colours = make(tmp_path, *numbered("images"))
    (tmp_path / "labels").mkdir()
    for number in range(4):
        (tmp_path / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert uses(tmp_path, colours.values())


def test_coco(tmp_path):
    train, val = make(tmp_path, *numbered("train2017")), make(tmp_path, *numbered("val2017", 3))
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        content = {"images": [{"id": 1, "file_name": "0.png"}], "annotations": [], "categories": []}
        (tmp_path / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    assert uses(tmp_path, val.values())
    assert uses(tmp_path, train.values(), split="train")


def test_coco_with_one_file_of_annotations_beside_the_images(tmp_path):
    colours = make(tmp_path, *numbered("images", 10))
    (tmp_path / "_annotations.coco.json").write_text(json.dumps({"images": [], "annotations": []}))
    (tmp_path / "labels.csv").write_text("id,label\n1,2\n")
    assert uses(tmp_path, colours.values())


def test_voc_with_its_masks(tmp_path):
    colours = make(tmp_path, *numbered("VOCdevkit/VOC2012/JPEGImages", 5, "2007_{}.JPG"))
    make(tmp_path, *numbered("VOCdevkit/VOC2012/SegmentationClass", 2, "2007_{}.png"))
    for number in range(5):
        path = tmp_path / f"VOCdevkit/VOC2012/Annotations/2007_{number}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("<annotation/>")
    sets = tmp_path / "VOCdevkit/VOC2012/ImageSets/Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("2007_0\n")
    found, sentences = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(colours.values())
    assert len(sentences) == 1
    assert "2 of the 7 images" in sentences[0]
    assert "2 in VOCdevkit/VOC2012/SegmentationClass" in sentences[0]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["train", "test"], ["train_masks", "test_masks"]),
        (["images"], ["images_gt"]),
        (["val_images", "train_images"], ["val_labels", "train_labels"]),
        (["images/train", "images/val"], ["masks/train", "masks/val"]),
        (["train/images", "val/images"], ["train/masks", "val/masks"]),
        (["train", "val"], ["trainannot", "valannot"]),
        (["Train", "Test"], ["TrainMasks", "TestMasks"]),
        (["train2017", "val2017"], ["train2017_labels", "val2017-labels"]),
        (["train", "val"], ["annotations/train", "annotations/val"]),
        (["leftImg8bit/train/a", "leftImg8bit/val/a"], ["gtFine/train/a", "gtFine/val/a"]),
        (["train", "test"], ["mask"]),
    ],
)
@pytest.mark.parametrize("where", ["here", "on the hub"])
def test_folders_of_masks_join_no_split(images, masks, where, tmp_path, hub):
    used = [make(tmp_path, *numbered(place)) for place in images]
    make(tmp_path, *(name for place in masks for name in numbered(place, 3)))
    name = tmp_path
    if where == "on the hub":
        hub.add("dataset", "ada/masks", tmp_path)
        name = "ada/masks"
    found, [sentence] = said(lambda: colours_of(name))
    of_split = [colours for place, colours in zip(images, used, strict=True) if "rain" not in place]
    assert Counter(found) == Counter(colour for colours in of_split for colour in colours.values())
    assert f"{3 * len(masks)} of the {3 * len(masks) + 4 * len(images)} images" in sentence


def test_masks_in_the_folder_of_their_images(tmp_path):
    colours = make(tmp_path, *numbered("benign", 3, "benign ({}).png"), "benign/a_label.jpg")
    make(tmp_path, *numbered("benign", 3, "benign ({})_mask.png"), "benign/benign (1)_mask_1.png")
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(colours.values())
    assert "4 of the 8 images" in sentence


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}_sat", "{}_mask"),
        ("{}_rgb", "{}_depth"),
        ("{} image", "{} label"),
        ("{}.color", "{}.gt"),
        ("a{}_IMG", "a{}-Mask"),
    ],
)
def test_masks_beside_images_that_say_what_they_are(image, mask, tmp_path):
    colours = make(tmp_path, *numbered("", 3, image + ".jpg"), "7_mask.jpg")
    make(tmp_path, *numbered("", 3, mask + ".png"))
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(colours.values())
    assert "3 of the 7 images" in sentence


def test_colour_and_depth_of_one_camera(tmp_path):
    colours = make(tmp_path, *numbered("scene/color"))
    make(tmp_path, *numbered("scene/depth"))
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(colours.values())
    assert "4 in scene/depth" in sentence


@pytest.mark.parametrize("classes", [("face", "face_mask"), ("label", "logo"), ("with_mask", "without_mask")])
def test_classes_with_words_for_annotations(tmp_path, classes):
    assert uses(tmp_path, make(tmp_path, *(name for one in classes for name in numbered(one))).values())


def test_a_class_called_mask_is_a_class(tmp_path):
    assert uses(tmp_path, make(tmp_path, *numbered("mask"), *numbered("no_mask")).values())


DETECTION = {
    "yolo": (["images/train", "images/val"], {"labels/{}.txt": 8, "data.yaml": 1}),
    "yolo of Roboflow": (
        ["train/images", "valid/images"],
        {"train/labels/{}.txt": 8, "README.roboflow.txt": 1},
    ),
    "yolo without splits": (["images"], {"labels/{}.txt": 4}),
    "yolo beside": (["obj"], {"obj/{}.txt": 4}),
    "coco": (["train2017", "val2017"], {"annotations/instances_{}.json": 2}),
    "coco beside": (
        ["valid", "train"],
        {"train/_annotations.coco.json": 1, "valid/_annotations.coco.json": 1},
    ),
    "voc": (["VOCdevkit/VOC2012/JPEGImages"], {"VOCdevkit/VOC2012/Annotations/{}.xml": 4}),
    "labelme": (["photos"], {"photos/{}.json": 4}),
    "with a table": (["images"], {"labels.csv": 1, "README.md": 1}),
}


@pytest.mark.parametrize("form", DETECTION)
@pytest.mark.parametrize("where", ["here", "on the hub", "in a folder on the hub"])
def test_detection_layouts(form, where, tmp_path, hub):
    places, labels = DETECTION[form]
    used = [make(tmp_path, *numbered(place, form="{}.jpg")) for place in places]
    for name, count in labels.items():
        for number in range(count):
            (tmp_path / name.format(number)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name.format(number)).write_text("text")
    hub.add("dataset", "ada/flat", tmp_path)
    hub.add(
        "dataset",
        "ada/deep",
        {f"d/e/{p.relative_to(tmp_path)}": p for p in tmp_path.rglob("*") if p.is_file()},
    )
    name = {"here": tmp_path, "on the hub": "ada/flat"}.get(where, "hf://datasets/ada/deep@main/d/e")
    last = used[next((n for n, place in enumerate(places) if "val" in place), 0)]
    assert uses(name, last.values())
    if len(places) > 1:
        assert Counter(colours_of(name, split="train")) == Counter(used[1 - used.index(last)].values())


# classes and splits


@pytest.mark.parametrize(
    "classes",
    [
        ("boat", "train", "car"),
        ("bullet_train", "test_tube", "cat"),
        ("freight train", "bus"),
        ("dev", "ops", "x"),
        ("steam-train", "test-bench"),
        ("freight train", "dev board", "val.d.isere"),
    ],
)
def test_classes_called_like_splits(tmp_path, classes):
    colours = make(tmp_path, *(name for one in classes for name in numbered(one)))
    assert uses(tmp_path, colours.values())


def test_classes_called_like_splits_inside_splits(tmp_path):
    make(tmp_path, *numbered("train/boat"), *numbered("train/test"))
    test = make(tmp_path, *numbered("test/train"), *numbered("test/boat"))
    assert uses(tmp_path, test.values())


def test_a_folder_beside_the_splits_is_counted(tmp_path):
    make(tmp_path, *numbered("train"), *numbered("extra", 3), "sample.png")
    test = make(tmp_path, *numbered("test"))
    found, sentences = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(test.values())
    assert len(sentences) == 1
    assert "4 of the 12 images" in sentences[0]
    assert "3 in extra" in sentences[0]


@pytest.mark.parametrize("form", ["seg_{}", "{}2017", "{}-images", "{}"])
@pytest.mark.parametrize("words", [("train", "test"), ("Training", "Testing"), ("train", "val")])
def test_splits_by_folders(tmp_path, form, words):
    make(tmp_path, *numbered(form.format(words[0])))
    other = make(tmp_path, *numbered(form.format(words[1])))
    assert uses(tmp_path, other.values())


def test_splits_by_names_of_files(tmp_path):
    make(tmp_path, *numbered("", form="train_{}.png"))
    test = make(tmp_path, *numbered("", form="test_{}.png"))
    assert uses(tmp_path, test.values())
    make(tmp_path, "another.png")
    assert len(colours_of(tmp_path)) == 9


def test_splits_whose_names_agree_in_most(tmp_path):
    make(tmp_path, *numbered("train_HR"), *numbered("train_LR"), *numbered("train_extra"))
    test = make(tmp_path, *numbered("valid_HR", 2), *numbered("valid_LR", 2))
    assert uses(tmp_path, test.values())
    train = make(tmp_path / "two", *numbered("train2014"), *numbered("val2017", 2))
    assert len(colours_of(tmp_path / "two", split="train")) == len(train) - 2


@pytest.mark.parametrize(
    "names",
    [
        ("dog.test.png", "cat.test.png"),
        ("steam-train.png", "test_bench.png"),
        ("val d'isere.jpg", "dev board.jpg"),
    ],
)
def test_names_of_files_that_only_contain_split_words(tmp_path, names):
    colours = make(tmp_path, *names)
    assert uses(tmp_path, colours.values())
    assert uses(tmp_path, colours.values(), split="train")


@pytest.mark.parametrize("form", ["ILSVRC2012_{}_0000{}.JPEG", "{}_a{}f.png", "cat_{}_{}.png", "x/{}-{}.png"])
def test_splits_by_names_of_files_with_numbers(tmp_path, form):
    make(tmp_path, *(form.format("train", number) for number in range(3)))
    val = make(tmp_path, *(form.format("val", number) for number in range(2)))
    assert uses(tmp_path, val.values())


def test_a_split_alone(tmp_path):
    colours = make(tmp_path, *numbered("validation/a"), *numbered("validation/b"))
    assert layout_of(files_below(tmp_path)).splits.keys() == {"validation"}
    assert uses(tmp_path, colours.values())
    with pytest.raises(DatasetError, match="no split 'test'; it has validation"):
        colours_of(tmp_path, split="test")


# names of files


def test_endings_in_any_case(tmp_path):
    names = [
        "a.png",
        "b.PNG",
        "c.Png",
        "d.jpg",
        "e.JPG",
        "f.jpeg",
        "g.JPEG",
        "h.webp",
        "i.BMP",
        "j.TIFF",
        "k.gif",
    ]
    assert uses(tmp_path, make(tmp_path, *names, "l.tif", "m.PPM", "n.JPE").values())


def test_hidden_files_do_not_count(tmp_path):
    colours = make(tmp_path, *numbered("a"))
    make(tmp_path, "__MACOSX/a/0.png", ".git/x.png", ".thumbnails/0.png")
    make(tmp_path, "a/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/x.png")
    for name in ("._0.png", ".DS_Store", "a/._1.png", "a/.hidden.png"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    assert uses(tmp_path, colours.values())


@pytest.mark.parametrize(
    "name", ["a[1]b", "st*r", "wh?t", "new\nline", "ümläut 写真", "a::b", "100%", "#1", "{x}", "~"]
)
def test_folders_with_odd_names(tmp_path, name):
    folder = tmp_path / name
    colours = make(folder, *numbered(name), *numbered("train [copy]", 2))
    assert uses(folder, colours.values())


def test_links_are_followed_and_not_in_a_circle(tmp_path):
    outside = make(tmp_path / "outside", *numbered("", 3))
    inside = make(tmp_path / "data", *numbered("", 2, "in{}.png"))
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "one.png").symlink_to(tmp_path / "outside" / "0.png")
    (tmp_path / "data" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    expected = [*outside.values(), *inside.values(), outside["0.png"], None]
    assert Counter(colours_of(tmp_path / "data")) == Counter(expected)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    colours = make(tmp_path, *numbered(""))
    os.mkfifo(tmp_path / "pipe.png")
    assert uses(tmp_path, colours.values())


def test_the_order_is_that_of_the_paths(tmp_path):
    colours = make(tmp_path, "b/1.png", "a/2.png", "a/10.png", "c.png")
    assert colours_of(tmp_path) == [colours[name] for name in ("a/10.png", "a/2.png", "b/1.png", "c.png")]


# what others decide


def test_metadata_name_the_images_and_the_rest_is_counted(tmp_path):
    colours = make(tmp_path, *numbered(""))
    for name, content in {
        "metadata.csv": "file_name,text\n0.png,a\n2.png,b\n",
        "metadata.jsonl": '{"file_name": "0.png", "t": 1}\n{"file_name": "2.png", "t": 2}\n',
    }.items():
        (tmp_path / name).write_text(content)
        found, sentences = said(lambda: colours_of(tmp_path))
        assert found == [colours["0.png"], colours["2.png"]]
        assert len(sentences) == 1
        assert "2 of the 4 images" in sentences[0]
        (tmp_path / name).unlink()
    (tmp_path / "metadata.csv").write_text("file_name,text\n" + "".join(f"{n}.png,a\n" for n in range(4)))
    assert uses(tmp_path, colours.values())


def test_configurations_in_the_card_are_obeyed_and_the_rest_is_counted(tmp_path):
    make(tmp_path, *numbered("b", 3))
    colours = make(tmp_path, *numbered("a"))
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: a/*.png\n---\n")
    found, sentences = said(lambda: colours_of(tmp_path))
    assert Counter(found) == Counter(colours.values())
    assert len(sentences) == 1
    assert "3 of the 7 images" in sentences[0]


def test_tables_with_images_decide(tmp_path):
    make(tmp_path, "preview.png")
    data = datasets.Dataset.from_dict({"image": [Image.new("RGB", (4, 4), (1, 2, 3))]})
    data.to_parquet(tmp_path / "train.parquet")
    assert layout_of(files_below(tmp_path)).form == "parquet"
    assert colours_of(tmp_path) == [(1, 2, 3)]


def test_no_image_is_not_for_here(tmp_path):
    assert layout_of(files_below(tmp_path)) is None
    (tmp_path / "a.txt").write_text("text")
    assert layout_of(files_below(tmp_path)) is None


def test_images_beside_a_table_are_counted(tmp_path):
    make(tmp_path, *numbered("", 3), "more/0.JPG")
    inside = [{"bytes": (tmp_path / "0.png").read_bytes(), "path": None}] * 5
    table = datasets.Dataset.from_dict({"image": inside}).cast_column("image", datasets.Image())
    table.to_parquet(tmp_path / "train.parquet")
    with pytest.warns(
        AffscoreWarning, match=r"^4 image file\(s\) in .* lie beside tables or archives.*only images"
    ):
        assert len(colours_of(tmp_path)) == 5


def test_a_folder_that_holds_only_a_table_warns_of_nothing(tmp_path):
    table = datasets.Dataset.from_dict({"image": [Image.new("RGB", (9, 8))]})
    table.cast_column("image", datasets.Image()).to_parquet(tmp_path / "train.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error", AffscoreWarning)
        assert len(colours_of(tmp_path)) == 1


def test_a_class_may_begin_with_two_underscores(tmp_path):
    """Only ``__MACOSX``, which archives of macOS bring, is no class."""
    make(tmp_path, *numbered("__background__", 3), *numbered("cat", 3), "__MACOSX/cat/0.png")
    assert len(colours_of(tmp_path)) == 6
