"""WebDataset archives: found by their headers, read in spite of damage, which costs one image and is named."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from hf_affscore.errors import DatasetError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.options import Options


def png(value, size=40):
    """A grey picture, whose noise makes it several kilobytes large."""
    pixels = np.random.default_rng(value).integers(0, 256, (size, size, 3), np.uint8)
    pixels[0, 0] = value
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def add(archive, name, content=b"", kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content), kind
    archive.addfile(member, io.BytesIO(content))


def packed(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            add(archive, *member)
    return buffer.getvalue()


@pytest.fixture(params=["here", "on the hub"])
def place(request, tmp_path, hub):
    """Writes archives, and gives the name that they are opened by."""

    def write(**archives):
        for name, content in archives.items():
            (tmp_path / f"{name}.tar").write_bytes(content)
        if request.param == "here":
            return str(tmp_path)
        hub.add("dataset", "ada/archives", tmp_path)
        return "ada/archives"

    return write


def opened(name, **options):
    asked = Options(**{"shuffle": False, **options})
    return open_images(locate_images(name, asked), asked, lambda: (3, 4, 5))


def read(stream):
    """The first grey value of each image, or why there is none."""
    found = []
    for _, [item] in stream.fetched((None, [item]) for item in stream.resumed()):
        try:
            found.append(stream.decode(item).getpixel((0, 0))[0])
        except Undecodable as error:
            found.append(str(error))
    return found


def test_odd_members_are_of_no_example(place):
    members = [
        ("./", b"", tarfile.DIRTYPE),
        ("LICENSE", b"text"),
        (".hidden.png", png(9)),
        ("000.png", png(0)),
        ("000.json", b"{not json"),
        ("000.cls", b"cat"),
        ("link.png", b"", tarfile.SYMTYPE),
        ("deep/er.name/001.png", png(1)),
        ("002.json", b"{}"),
        ("003.png", png(3)),
        ("003.png", png(4)),
    ]
    stream = opened(place(train=packed(members)))
    assert read(stream) == [0, 1, "the image is missing", 3, 4]
    assert stream.metadata["image_column"] == "png"


def test_endings_may_be_mixed_and_upper_case(place):
    members = [("a.JPG", png(1)), ("b.jpeg", png(2)), ("c.Png", png(3))]
    assert read(opened(place(train=packed(members)))) == [1, 2, 3]


def test_of_two_images_one_is_chosen(place):
    members = [
        (f"{n}.{field}.png", png(n + add)) for n in range(3) for field, add in (("input", 0), ("target", 100))
    ]
    name = place(train=packed(members))
    with pytest.raises(DatasetError, match=r"Several columns hold images: input\.png, target\.png"):
        opened(name)
    assert read(opened(name, image_column="target.png")) == [100, 101, 102]


def test_a_damaged_image_is_named(place):
    members = [("0.png", png(0)), ("1.png", b"no image"), ("2.png", b""), ("3.png", png(3))]
    found = read(opened(place(train=packed(members))))
    assert found[::3] == [0, 3]
    assert all(name in reason for name, reason in zip(("1.png", "2.png"), found[1:3], strict=True))


def test_a_damaged_header_costs_one_image_and_names_the_archive(place):
    content = bytearray(packed([(f"{n}.png", png(n)) for n in range(5)]))
    start = content.index(b"2.png")
    content[start : start + 200] = bytes(range(1, 201))
    found = read(opened(place(first=bytes(content), second=packed([("9.png", png(9))]))))
    assert [value for value in found if isinstance(value, int)] == [0, 1, 3, 4, 9]
    [reason] = [value for value in found if isinstance(value, str)]
    assert "first.tar is damaged at byte" in reason


def test_an_archive_that_is_cut_off_costs_the_image_that_is_cut(place):
    content = packed([(f"{n}.png", png(n)) for n in range(5)])
    cut = content[: content.index(b"4.png") + 2000]
    found = read(opened(place(first=cut, second=packed([("9.png", png(9))]))))
    assert [value for value in found if isinstance(value, int)] == [0, 1, 2, 3, 9]
    [reason] = [value for value in found if isinstance(value, str)]
    assert "4.png" in reason or "first.tar ends early" in reason


def test_an_archive_that_is_none_costs_no_other(place):
    found = read(
        opened(place(a=packed([("1.png", png(1))]), b=b"no archive" * 100, c=packed([("2.png", png(2))])))
    )
    assert [value for value in found if isinstance(value, int)] == [1, 2]
    [reason] = [value for value in found if isinstance(value, str)]
    assert "b.tar" in reason


def test_joined_archives_are_not_damaged(place):
    assert read(opened(place(train=packed([("1.png", png(1))]) + packed([("2.png", png(2))])))) == [1, 2]


def test_archives_without_images_say_so(place):
    with pytest.raises(DatasetError, match=r"train\.tar holds no example with an image"):
        opened(place(train=packed([("1.txt", b"text")])))


def test_archives_elsewhere_that_fit_are_drawn_from_as_if_they_lay_here(place):
    archives = {
        f"part{shard}": packed([(f"{n:02}.png", png(n)) for n in range(shard, shard + 9)]) for shard in (0, 9)
    }
    stream = opened(place(**archives), shuffle=True, seed=2)
    assert read(stream) == np.random.default_rng(2).permutation(18).tolist()
    assert stream.metadata["draw"] == {"method": "uniform", "rows": 18}
