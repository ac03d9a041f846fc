"""Read the orientation of an image, and remove all other metadata from a file.

Other metadata is ignored: it is often invalid, and decoding does not need it.
Formats: EXIF 2.32 (the block is a TIFF 6.0 directory), the JPEG marker segments of ITU-T T.81, the chunks of PNG.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

#: The orientation tag and its values; 1 is upright.
ORIENTATION = 0x0112
UPRIGHT = 1
TURNED = range(2, 9)

#: Keys of Pillow's ``info``, besides EXIF, that may hold an orientation.
_XMP = frozenset({"xmp", "XML:com.adobe.xmp", "Raw profile type exif"})

_EXIF = b"Exif\0\0"
_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"

#: Chunks of a PNG that its pixels depend on, as Pillow reads them.
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def orientation(image: Image) -> int:
    """The EXIF orientation of a loaded image, 1 to 8; 1 if it is missing or unreadable."""
    block = image.info.get("exif")
    found = exif_orientation(block) if isinstance(block, bytes) else None
    if found is None and (block is None or not _XMP.isdisjoint(image.info)):
        try:  # an orientation in XMP, in a text chunk, or set by the caller
            found = image.getexif().get(ORIENTATION)
        except Exception:  # another library's parser, on arbitrary bytes
            found = None
    return found if isinstance(found, int) and found in TURNED else UPRIGHT


def exif_orientation(block: bytes) -> int | None:
    """The orientation in an EXIF block, even if other parts are damaged; None if it has none.

    Example:
        >>> exif_orientation(exif_block(6))
        6
        >>> exif_orientation(b"no such thing")
    """
    while block.startswith(_EXIF):
        block = block[len(_EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    formats = {1: "B", 3: "H", 4: "L"}  # bytes, shorts and longs; writers should use a short
    try:
        (directory,) = struct.unpack_from(f"{order}L", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        for entry in range(entries):
            place = directory + 2 + 12 * entry
            tag, kind = struct.unpack_from(f"{order}HH", block, place)
            if tag == ORIENTATION and kind in formats:
                (value,) = struct.unpack_from(f"{order}{formats[kind]}", block, place + 8)
                return int(value)
    except struct.error:  # the block ends before its directory does
        pass
    return None


def only_orientation(image: Any) -> None:
    """Remove all metadata except the orientation from a TIFF that is not loaded yet.

    Pillow rotates a TIFF while it reads the pixels, and then reads all metadata, which may be damaged.
    """
    exif = image.getexif()
    for tag in [tag for tag in exif if tag != ORIENTATION]:
        del exif[tag]
    image.info.pop("xmp", None)


def exif_block(turned: int) -> bytes:
    """An EXIF block with an orientation and nothing else."""
    return _EXIF + struct.pack("<2sHLHHHLHHL", b"II", 42, 8, 1, ORIENTATION, 3, 1, turned, 0, 0)


def without_metadata(data: bytes) -> bytes:
    """A JPEG or PNG file with only its pixels and orientation; other files are returned unchanged.

    For files that a library refuses to open because it cannot read a comment, a profile or an index.
    """
    if data.startswith(_JPEG):
        return _bare_jpeg(data)
    return _bare_png(data) if data.startswith(_PNG) else data


def _bare_jpeg(data: bytes) -> bytes:
    """The segments that decoding needs: no comments or application segments, except two that define the colours."""
    kept, turned, place = [], None, len(_JPEG)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA:  # the pixels, to the end of the file
            break
        segment = data[place : place + 2 + length]
        if marker == 0xE1 and turned is None and segment[4:].startswith(_EXIF):
            turned = exif_orientation(segment[4:])
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(segment)
        place += 2 + length
    exif = exif_block(turned or UPRIGHT)
    header = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    return _JPEG + header + b"".join(kept) + data[place:]


def _bare_png(data: bytes) -> bytes:
    """The chunks that decoding needs, with their checksums unchanged; the orientation follows the header."""
    turned, kept, place = None, [], len(_PNG)
    while place < len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        chunk = data[place : place + 12 + length]
        if name == b"eXIf":
            turned = exif_orientation(chunk[8:-4])
        if name in _PNG_PIXELS:
            kept.append(chunk)
        place += len(chunk)
    content = b"eXIf" + exif_block(turned or UPRIGHT)[len(_EXIF) :]
    exif = struct.pack(">L", len(content) - 4) + content + struct.pack(">L", zlib.crc32(content))
    return _PNG + b"".join([*kept[:1], exif, *kept[1:]])
