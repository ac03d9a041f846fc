"""A small valid file of each format that Pillow reads and does not write."""

import io
import struct

from PIL import Image

WIDTH, HEIGHT = 12, 10
GREY = bytes(range(WIDTH * HEIGHT))
COLOURED = bytes(value % 256 for value in range(3 * WIDTH * HEIGHT))


def saved(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("RGB", (WIDTH, HEIGHT), COLOURED).save(buffer, format_)
    return buffer.getvalue()


def cursor() -> bytes:
    bitmap = bytearray(saved("BMP")[14:])
    bitmap[8:12] = struct.pack("<i", 2 * HEIGHT)  # the picture and its mask
    mask = bytes(4 * HEIGHT)
    entry = struct.pack("<BBBBHHLL", WIDTH, HEIGHT, 0, 0, 0, 0, len(bitmap) + len(mask), 22)
    return b"\0\0\2\0\1\0" + entry + bytes(bitmap) + mask


def fax() -> bytes:
    return struct.pack("<3L", 0x3ADE68B1, 12, 0) + saved("PCX")


def fits() -> bytes:
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {WIDTH}", f"NAXIS2  = {HEIGHT}", "END"]
    return "".join(f"{card:80}" for card in cards).ljust(2880).encode() + GREY.ljust(2880, b"\0")


def animation() -> bytes:
    pixels = struct.pack("<LH", 6 + len(GREY), 16) + GREY
    frame = struct.pack("<LHH8x", 16 + len(pixels), 0xF1FA, 1) + pixels
    head = struct.pack("<LHHHHHHL", 128 + len(frame), 0xAF12, 1, WIDTH, HEIGHT, 8, 0, 70)
    return head.ljust(128, b"\0") + frame


def texture() -> bytes:
    head = b"FTEX" + struct.pack("<7i", 0, WIDTH, HEIGHT, 1, 1, 1, 32)
    return head + struct.pack("<i", len(COLOURED)) + COLOURED


def brush() -> bytes:
    return struct.pack(">5L4sL", 34, 2, WIDTH, HEIGHT, 1, b"GIMP", 10) + b"round\0" + GREY


def camera() -> bytes:
    data = bytearray(96 * 2048 + 768 * 512 * 3 // 2)
    data[2048:2055] = b"PCD_IPI"
    return bytes(data)


def rendered() -> bytes:
    head = bytearray(1024)
    head[:4] = b"\200\350\000\000"
    head[416:428] = struct.pack("<6H", HEIGHT, WIDTH, 0, 0, 14, 2)
    return bytes(head) + COLOURED


def layered() -> bytes:
    head = b"8BPS" + struct.pack(">H6xHLLHH", 1, 3, HEIGHT, WIDTH, 8, 3)
    return head + struct.pack(">3LH", 0, 0, 0, 0) + COLOURED


def satellite() -> bytes:
    words = [0] * 65
    words[2], words[9], words[10], words[11], words[14], words[15], words[34] = 4, HEIGHT, WIDTH, 1, 1, 0, 256
    return struct.pack(">64i", *words[1:]) + GREY


def news() -> bytes:
    def field(record: int, tag: int, value: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, record, tag, len(value)) + value

    size = [field(3, 20, struct.pack(">H", WIDTH)), field(3, 30, struct.pack(">H", HEIGHT))]
    kind = [field(3, 60, b"\1\0"), field(3, 65, b"\0"), field(3, 120, b"\1")]
    return b"".join([field(2, 5, b"title"), *size, *kind]) + field(8, 10, GREY)


FILES = {
    "CUR": cursor,
    "DCX": fax,
    "FITS": fits,
    "FLI": animation,
    "FTEX": texture,
    "GBR": brush,
    "IMT": lambda: f"width {WIDTH}\nheight {HEIGHT}\npixel n8\n\x0c".encode() + GREY.ljust(100, b"\0"),
    "IPTC": news,
    "MCIDAS": satellite,
    "PCD": camera,
    "PIXAR": rendered,
    "PSD": layered,
    "SUN": lambda: struct.pack(">8L", 0x59A66A95, WIDTH, HEIGHT, 24, len(COLOURED), 1, 0, 0) + COLOURED,
    "XPM": lambda: (
        b'/* XPM */\nstatic char *x[] = {\n"2 2 2 1",\n"a c #ff0000",\n"b c #00ff00",\n"ab",\n"ba"};\n'
    ),
    "XVTHUMB": lambda: f"P7 332\n#END_OF_COMMENTS\n{WIDTH} {HEIGHT} 255\n".encode() + GREY,
}
