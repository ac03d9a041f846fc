"""What one image is: any format, mode, range, orientation and damage; against the pixels that went into it."""

import io
import struct
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from skimage.color import rgb2lab

from hf_affscore.errors import InputError
from hf_affscore.images.decoding import Undecodable, decode
from hf_affscore.images.metadata import exif_block, exif_orientation, without_metadata
from hf_affscore.images.pixels import eight_bits, from_array, to_rgb
from tests.versions import needs


def photo(size=(24, 20)):
    """A smooth picture with an obvious top left, so that order and orientation show."""
    y, x = np.mgrid[0 : 1 : size[1] * 1j, 0 : 1 : size[0] * 1j]
    return (np.stack([1 - x * y, x * (1 - y), y], -1) * 255).astype(np.uint8)


PHOTO = photo()
GREY = np.asarray(Image.fromarray(PHOTO).convert("L"))


def written(image, format_, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def pixels(item, mode=None):
    image = decode({"bytes": item, "path": None, "mode": mode} if mode else item)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=-1)


def reason(item):
    with pytest.raises(Undecodable) as raised:
        decode(item)
    return str(raised.value)


# orientation

TURNED = {
    1: PHOTO,
    2: PHOTO[:, ::-1],
    3: PHOTO[::-1, ::-1],
    4: PHOTO[::-1],
    5: PHOTO.transpose(1, 0, 2),
    6: np.rot90(PHOTO, -1),
    7: PHOTO[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(PHOTO),
}


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


AVIF = pytest.param("AVIF", marks=needs("pillow", "11.3", "it knows no AVIF"))
QOI = pytest.param("QOI", marks=needs("pillow", "11.3", "it writes no QOI"))


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP", "JPEG", AVIF, "MPO"])
def test_every_orientation_in_every_format(format_, turned):
    options = {"lossless": True} if format_ == "WEBP" else {}
    found = pixels(written(PHOTO, format_, exif=exif(turned), **options))
    if format_ in ("JPEG", "AVIF", "MPO"):
        assert found.shape == TURNED[turned].shape
        assert np.abs(found.astype(int) - TURNED[turned]).mean() < 8  # of 255, by compression
    else:
        assert np.array_equal(found, TURNED[turned])


@pytest.mark.parametrize("turned", TURNED)
def test_sixteen_bits_turn_as_eight(turned):
    deep = written(GREY.astype(np.uint16) * 257, "PNG", exif=exif(turned))
    assert np.array_equal(pixels(deep), pixels(written(GREY, "PNG", exif=exif(turned))))
    deep = written(GREY.astype(np.uint16) * 257, "TIFF", exif=exif(turned))
    assert np.array_equal(pixels(deep), pixels(written(GREY, "PNG", exif=exif(turned))))


@needs("pillow", "11.2", "it reads no orientation from XMP")
def test_an_orientation_in_xmp():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert np.array_equal(pixels(written(PHOTO, "PNG", exif=b"")), PHOTO)
    assert pixels(written(PHOTO, "JPEG", xmp=xmp)).shape == TURNED[6].shape


def test_an_image_that_somebody_opened_is_turned_and_stays_as_it_is():
    image = Image.open(io.BytesIO(written(PHOTO, "PNG", exif=exif(6))))
    assert np.array_equal(np.asarray(decode(image)), TURNED[6])
    assert np.array_equal(np.asarray(image), PHOTO)


# damaged metadata


def entry(tag, kind, count, value):
    return struct.pack("<HHL", tag, kind, count) + value


def block(*entries, count=None):
    head = struct.pack("<2sHLH", b"II", 42, 8, len(entries) if count is None else count)
    return b"Exif\0\0" + head + b"".join(entries) + bytes(8)


TURN = entry(0x0112, 3, 1, struct.pack("<HH", 6, 0))
BLOCKS = {
    "a pointer as text": block(TURN, entry(0xA005, 2, 4, b"abc\0")),
    "pointers to nowhere": block(TURN, *(entry(tag, 4, 1, b"\xff" * 4) for tag in (0x8769, 0x8825, 0xA005))),
    "a maker without end before it": block(entry(0x010F, 2, 5000, b"\xff\0\0\0"), TURN),
    "more entries than there are": block(TURN, count=5000),
    "a resolution by nothing": block(TURN, entry(0x011A, 5, 1, bytes(4)), entry(0x0128, 3, 1, b"\x03\0\0\0")),
    "a resolution as text": block(TURN, entry(0x011A, 2, 4, b"abc\0"), entry(0x0128, 2, 4, b"abc\0")),
    "types that there are none of": block(entry(0x8769, 99, 1, bytes(4)), TURN),
    "a short too many": block(entry(0x0112, 3, 2, struct.pack("<HH", 6, 6))),
}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_a_picture_with_damaged_exif_is_used_and_turned(format_, kind):
    options = {"lossless": True} if format_ == "WEBP" else {}
    plain = decode(written(PHOTO, format_, **options))
    found = pixels(written(PHOTO, format_, exif=BLOCKS[kind], **options))
    assert np.array_equal(found, np.asarray(plain.transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize(
    "junk", [b"", b"Exif\0\0", b"Exif\0\0XX*\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 50]
)
def test_exif_that_is_none_leaves_the_picture_as_it_is(junk):
    assert exif_orientation(junk) is None
    assert np.array_equal(pixels(written(PHOTO, "PNG", exif=junk)), PHOTO)


def test_a_tiff_with_damaged_metadata_is_used_and_turned():
    plain = written(PHOTO, "TIFF", tiffinfo={0x0112: 6, 34665: 7, 34853: 7, 700: b"x"})
    assert np.array_equal(pixels(plain), TURNED[6])


def test_a_jpeg_that_pillow_refuses_for_its_metadata_is_used_and_turned():
    good = written(PHOTO, "JPEG", exif=exif(6))
    photoshop = b"Photoshop 3.0\x008BIM\x03\xed"
    odd = good[:2] + b"\xff\xed" + struct.pack(">H", len(photoshop) + 2) + photoshop + good[2:]
    with pytest.raises(Exception, match="cannot identify"):
        Image.open(io.BytesIO(odd))
    assert np.array_equal(pixels(odd), pixels(good))


def test_a_png_with_more_text_than_pillow_takes_is_used_and_turned():
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=True)
    data = written(PHOTO, "PNG", exif=exif(6), pnginfo=text)
    with pytest.raises(ValueError, match="too large"):
        Image.open(io.BytesIO(data)).load()
    assert np.array_equal(pixels(data), TURNED[6])


def test_without_metadata_keeps_damage_of_the_pixels():
    data = bytearray(written(np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8), "PNG"))
    data[len(data) // 2] ^= 255  # in the middle of the pixels, whose checksum is wrong now
    assert "broken" in reason(bytes(data))
    assert without_metadata(b"something else") == b"something else"
    assert exif_orientation(exif_block(7)) == 7


# damage


ERRORS = [
    IndexError("list index"),
    AttributeError("no such"),
    struct.error("unpack"),
    TypeError("a"),
    KeyError(3),
]
ERRORS += [
    AssertionError(),
    MemoryError(),
    RecursionError("too deep"),
    ZeroDivisionError("0"),
    EOFError("end"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_decoder_raises_costs_one_image(error, monkeypatch):
    def fail(self):
        raise error

    data = written(PHOTO, "BMP")
    opened = Image.open(io.BytesIO(data))
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    for item in (data, {"bytes": data, "path": "/home/me/cat.bmp"}, opened):
        said = reason(item)
        assert said
        assert "\n" not in said
        assert "/home" not in said
    assert "cat.bmp" in reason({"bytes": data, "path": "/home/me/cat.bmp"})


@pytest.mark.parametrize(
    "format_",
    ["BMP", "GIF", "JPEG", "PNG", "PPM", "TGA", "TIFF", "WEBP", AVIF, QOI, "SGI", "PCX", "JPEG2000"],
)
def test_half_a_file_is_no_image(format_):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = written(Image.fromarray(noise).convert("P") if format_ == "GIF" else noise, format_)
    assert decode(data).size == (64, 64)
    assert reason(data[: len(data) // 2])
    assert reason(data[:20])
    assert reason(b"")


def test_a_file_that_cannot_be_opened_costs_one_image(tmp_path):
    assert "no such file" in reason({"bytes": None, "path": str(tmp_path / "none.png")}).lower()
    (tmp_path / "folder.png").mkdir()
    assert "folder.png" in reason({"bytes": None, "path": str(tmp_path / "folder.png")})


# modes and ranges


MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]


@pytest.mark.parametrize("mode", [*MODES, "I", "F", "I;16", "I;16L", "I;16B", "I;16N"])
def test_every_mode_of_pillow(mode):
    image = Image.new(mode, (4, 3))
    assert to_rgb(image).mode == "RGB"
    assert to_rgb(image).size == (4, 3)
    assert image.mode == mode


def test_colours_keep_their_values():
    image = Image.fromarray(PHOTO)
    assert np.array_equal(np.asarray(to_rgb(image.convert("RGBA"))), PHOTO)
    for mode in ("YCbCr", "HSV", "CMYK"):
        assert np.abs(np.asarray(to_rgb(image.convert(mode))).astype(int) - PHOTO).max() < 12
    palette = image.quantize(200)
    assert np.array_equal(
        np.asarray(to_rgb(palette)), np.array(palette.getpalette()).reshape(-1, 3)[np.asarray(palette)]
    )


def test_lab_by_an_independent_conversion():
    muted = PHOTO // 2 + 64  # strong blues differ between white points
    lab = rgb2lab(muted)
    stored = np.stack([lab[..., 0] * 2.55, lab[..., 1] % 256, lab[..., 2] % 256], -1).round().astype(np.uint8)
    image = Image.frombytes("LAB", (24, 20), stored.tobytes())  # a and b are signed in a file
    assert (
        np.abs(np.asarray(to_rgb(image)).astype(int) - muted).mean() < 3
    )  # 8 bits of Lab, other white points


@pytest.mark.parametrize("format_", ["PNG", "GIF", "WEBP"])
def test_transparency_shows_what_lies_under_it(format_):
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    image = Image.fromarray(PHOTO).quantize(100)
    expected = np.asarray(image.convert("RGB"))
    if format_ == "WEBP":
        image = Image.fromarray(expected).convert("RGBA")
        image.putalpha(7)
    else:
        options["transparency"] = 3 if format_ == "GIF" else bytes(range(0, 200, 2))
    assert np.array_equal(pixels(written(image, format_, **options)), expected)


def test_adobes_cmyk_is_inverted_in_the_file():
    white = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert pixels(written(white, "JPEG")).min() == 255
    assert pixels(written(white, "TIFF")).min() == 255


@pytest.mark.parametrize("format_", ["GIF", "PNG", "TIFF", "WEBP", AVIF])
def test_of_several_frames_the_first(format_):
    frames = [Image.new("RGB", (16, 16), (value, value, value)) for value in (200, 100, 50)]
    data = written(frames[0], format_, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.abs(pixels(data).astype(int) - 200).max() <= 2


RANGES = [
    ("int32 to 255", np.int32, [0, 100, 255], [0, 100, 255]),
    ("int32 to 65535", np.int32, [0, 20_000, 65_535], [0, 78, 255]),
    ("twelve bits", np.uint16, [0, 2048, 4095], [0, 128, 255]),
    ("beyond 16 bits", np.int32, [0, 500_000, 1_000_000], [0, 128, 255]),
    ("signed", np.int32, [-1000, 0, 1000], [0, 128, 255]),
    ("a single value", np.int32, [100_000, 100_000, 100_000], [255, 255, 255]),
    ("unit range", np.float32, [0.0, 0.25, 0.5], [0, 64, 128]),
    ("floats of bytes", np.float32, [0.0, 17.4, 200.0], [0, 17, 200]),
    ("metres", np.float32, [0.0, 5.0, 10.0], [0, 128, 255]),
    ("around zero", np.float32, [-1.0, 0.0, 1.0], [0, 128, 255]),
    ("not finite", np.float32, [np.nan, 0.5, np.inf], [128, 128, 128]),
]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"), [case[1:] for case in RANGES], ids=[c[0] for c in RANGES]
)
def test_more_than_eight_bits_by_declared_or_real_range(dtype, values, expected):
    array = np.array([values], dtype)
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(array))), grey([expected]))
    assert np.array_equal(np.asarray(to_rgb(from_array(array))), grey([expected]))


def test_a_tiff_of_twelve_bits_says_so():
    image = Image.open(io.BytesIO(written(np.array([[0, 200, 255]], np.uint16), "TIFF")))
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 200, 255]
    image = Image.open(io.BytesIO(written(np.array([[0, 200, 255]], np.uint16), "TIFF")))
    image.load()
    image.tag_v2[258] = (12,)
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 12, 16]


def test_nothing_finite_is_no_image():
    assert "none of its values is finite" in reason(Image.fromarray(np.full((2, 2), np.nan, np.float32)))


def test_a_declared_mode_comes_first():
    data = written(PHOTO, "PNG")
    expected = grey(np.asarray(Image.fromarray(PHOTO).convert("L")))
    for mode in ("L", "I", "F", "I;16"):
        assert np.array_equal(pixels(data, mode), expected)
    assert np.array_equal(pixels(data, "RGB"), PHOTO)
    assert set(np.unique(pixels(data, "1"))) <= {0, 255}


# arrays


ORDERS = {
    "(H, W, 3)": (PHOTO, PHOTO),
    "(3, H, W)": (PHOTO.transpose(2, 0, 1), PHOTO),
    "(H, W)": (GREY, grey(GREY)),
    "(H, W, 1)": (GREY[..., None], grey(GREY)),
    "(1, H, W)": (GREY[None], grey(GREY)),
    "(H, W, 4)": (np.concatenate([PHOTO, PHOTO[..., :1]], -1), PHOTO),
    "(4, H, W)": (np.concatenate([PHOTO, PHOTO[..., :1]], -1).transpose(2, 0, 1), PHOTO),
    "(3, 4, 4)": (
        np.arange(48, dtype=np.uint8).reshape(3, 4, 4),
        np.arange(48).reshape(3, 4, 4).transpose(1, 2, 0),
    ),
    "bool": (GREY > 100, grey((GREY > 100) * 255)),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [np.asarray, np.ndarray.tolist], ids=["array", "lists"])
def test_arrays_in_any_order(order, kind):
    array, expected = ORDERS[order]
    assert np.array_equal(pixels(kind(array)), expected)


def test_floating_point_arrays_are_tensors_or_pixels():
    ready = np.random.default_rng(0).normal(size=(3, 5, 6))
    assert torch.equal(decode(ready), torch.from_numpy(ready).float())
    assert torch.equal(decode(ready.tolist()), torch.from_numpy(ready).float())
    assert np.array_equal(pixels(PHOTO / np.float64(255)), PHOTO)


@pytest.mark.parametrize(
    "item", [np.zeros(784), np.zeros((5, 7, 7)), np.zeros((0, 5)), [[1, 2], [3]], [["a"]], []]
)
def test_arrays_that_are_no_images_cost_one_image(item):
    assert reason(item)


def test_eight_bits_of_eight_bits_are_the_same():
    assert np.array_equal(eight_bits(PHOTO), PHOTO)


# formats that need another package

HEIC = struct.pack(">L4s4s", 24, b"ftyp", b"heic") + bytes(40)


@pytest.mark.parametrize(
    ("data", "package"),
    [(HEIC, "pillow-heif"), (b"\xff\x0a" + bytes(40), "pillow-jxl-plugin")],
)
def test_a_format_that_pillow_does_not_read_says_what_to_install(data, package, monkeypatch):
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install {package} (a.heic)" in reason({"bytes": data, "path": "x/a.heic"})


def test_a_plugin_that_is_installed_is_used(monkeypatch):
    def register_heif_opener():
        Image.register_open("HEIF", lambda file, name: picture, lambda start: start[4:12] == b"ftypheic")

    picture = Image.fromarray(PHOTO)
    module = types.SimpleNamespace(register_heif_opener=register_heif_opener)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    monkeypatch.setattr(Image, "ID", [*Image.ID])
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
    monkeypatch.setattr(
        Image, "register_open", lambda id_, *how: (Image.ID.append(id_), Image.OPEN.update({id_: how}))
    )
    assert np.array_equal(pixels(HEIC), PHOTO)


def test_text_is_no_image():
    with pytest.raises(InputError, match="is text; expected a PIL image"):
        decode("cat.png")
