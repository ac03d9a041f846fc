"""Damaged images of every format that Pillow reads, and EXIF that no camera should have written."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from hf_affscore.images.decoding import Undecodable, decode
from tests.fuzz import read_only
from tests.fuzz.harness import CASES, ROUNDS, damage, read_or_refused

#: A mode for each format that cannot hold the usual one.
MODES = {"GIF": "P", "MSP": "1", "XBM": "1", "PALM": "L", "BLP": "P", "SPIDER": "F"}

#: What Pillow writes and does not read.
ONLY_WRITTEN = {"PDF", "PALM", "BUFR", "GRIB", "HDF5", "WMF"}

#: More than one way to write a format, each of which has a decoder of its own.
OPTIONS = {
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"compression": "packbits"}],
    "JPEG": [{}, {"progressive": True}],
    "WEBP": [{}, {"lossless": True}],
    "TGA": [{}, {"compression": "tga_rle"}],
    "DDS": [{}, {"pixel_format": "DXT1"}],
}


def photo(mode="RGB", size=(24, 20)):
    """A smooth picture with an obvious top left."""
    y, x = np.mgrid[0 : 1 : size[1] * 1j, 0 : 1 : size[0] * 1j]
    pixels = np.stack([1 - x * y, x * (1 - y), y], -1) * 255
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def written(image, format_, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def valid_files():
    Image.init()
    for format_ in sorted(set(Image.SAVE) - ONLY_WRITTEN):
        for number, options in enumerate(OPTIONS.get(format_, [{}])):
            size = (64, 64) if format_ in ("ICNS", "ICO") else (24, 20)
            image = photo(MODES.get(format_, "RGB"), size)
            yield pytest.param(written(image, format_, **options), id=f"{format_}-{number}")
    deep = Image.fromarray(np.arange(480, dtype=np.uint16).reshape(20, 24) * 136)
    yield pytest.param(written(deep, "PNG"), id="PNG-16")
    yield pytest.param(written(photo("P"), "PNG", transparency=bytes(range(256))), id="PNG-palette")
    frames = [photo(), photo().transpose(Image.Transpose.ROTATE_180)]
    for format_ in ("GIF", "PNG", "TIFF", "WEBP", "AVIF", "MPO"):
        data = written(frames[0], format_, save_all=True, append_images=frames[1:])
        yield pytest.param(data, id=f"{format_}-frames")
    for format_, make in read_only.FILES.items():
        yield pytest.param(make(), id=format_)


FILES = list(valid_files())

#: What Pillow recognises and cannot decode itself.
ONLY_RECOGNISED = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}


def test_no_format_is_left_out():
    read = {Image.open(io.BytesIO(file.values[0])).format.upper() for file in FILES}
    assert set(Image.OPEN) - read <= ONLY_RECOGNISED


@pytest.fixture(autouse=True)
def _small_and_quiet(monkeypatch):
    """Sizes that damage makes huge are refused early; what Pillow warns about is not what is tested."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("data", FILES)
def test_a_damaged_image_is_read_or_refused(data, round_):
    for damaged in damage(data, seed=round_):
        item = {"bytes": damaged, "path": "/home/me/picture"}
        image = read_or_refused(lambda item=item: decode(item), Undecodable)
        assert image is None or (image.mode == "RGB" and min(image.size) > 0)


def odd_exif(random, orientation):
    """A directory with an orientation, among entries of any type, length and value, in either byte order."""
    order = "<>"[int(random.integers(2))]
    tags = [0x010F, 0x011A, 0x0128, 0x8769, 0x8825, 0xA005, 0x927C, 0x02BC, 0x8649, 0x0000, 0xFFFF]
    entries = []
    for _ in range(int(random.integers(1, 8))):
        tag, kind = tags[int(random.integers(len(tags)))], int(random.integers(0, 15))
        count = (0, 1, 2, 4, 5, 1000, 2**32 - 1)[int(random.integers(7))]
        entries.append(struct.pack(f"{order}HHL", tag, kind, count) + random.bytes(4))
    upright = struct.pack(f"{order}HHLHH", 0x0112, 3, 1, orientation, 0)
    entries.insert(int(random.integers(len(entries) + 1)), upright)
    count = len(entries) + int(random.integers(0, 3)) * 100  # more than there are
    head = struct.pack(f"{order}2sHLH", b"II" if order == "<" else b"MM", 42, 8, count)
    return b"Exif\0\0" + head + b"".join(entries) + random.bytes(int(random.integers(0, 40)))


TURN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_whatever_else_exif_holds_the_picture_is_used_and_turned(format_, round_):
    options = {"lossless": True} if format_ == "WEBP" else {}
    upright = np.asarray(decode(written(photo(), format_, **options)))
    for case in range(5 * CASES):
        random = np.random.default_rng([round_, case])
        orientation = int(random.integers(1, 9))
        exif = odd_exif(random, orientation)
        image = decode(written(photo(), format_, exif=exif, **options))
        assert np.array_equal(np.asarray(image), TURN[orientation](upright)), (format_, exif)


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(name, content):
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


#: How the metadata begin that Pillow takes apart when it opens a file.
JPEG_METADATA = [
    (0xE0, b"JFIF\0\x01\x01\x01"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xE2, b"ICC_PROFILE\0\x01\x01"),
    (0xE2, b"MPF\0II*\0\x08\0\0\0\x02\0"), (0xE2, b"FPXR\0"), (0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
    (0xED, b"Photoshop 3.0\x008BIM"), (0xFE, b""), (0xEF, b""),
]  # fmt: skip
PNG_METADATA = [
    *(b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL"),
    *(b"tIME", b"sBIT", b"bKGD", b"hIST", b"spLt"),
]


@pytest.mark.parametrize("round_", ROUNDS)
def test_whatever_other_metadata_hold_the_picture_is_used_and_turned(round_):
    exif = b"Exif\0\0" + struct.pack("<2sHLHHHLHHL", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    jpeg, png = written(photo(), "JPEG", exif=exif), written(photo(), "PNG", exif=exif)
    for case in range(5 * CASES):
        random = np.random.default_rng([round_, case])
        marker, start = JPEG_METADATA[int(random.integers(len(JPEG_METADATA)))]
        odd = segment(marker, start + random.bytes(int(random.integers(0, 30))))
        image = decode(jpeg[:2] + odd + jpeg[2:])
        assert np.array_equal(np.asarray(image), np.asarray(decode(jpeg))), odd
        name = PNG_METADATA[int(random.integers(len(PNG_METADATA)))]
        odd = chunk(name, random.bytes(int(random.integers(0, 30))))
        image = decode(png[:33] + odd + png[33:])
        if name != b"eXIf":
            assert np.array_equal(np.asarray(image), np.asarray(decode(png))), odd
