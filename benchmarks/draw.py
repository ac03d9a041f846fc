"""What a draw costs: requests and bytes for 2,048 of 1.28 million images in 300 Parquet files; writes ``draw.md``.

    python -m benchmarks.draw

The files have the shapes of ImageNet's on the Hub and a hundredth of their bytes, and so have the limits of the
draw: a row of 1.1 KB stands for an image of 110 KB. They lie on a Hub on 127.0.0.1 that the real client talks to.
All files hold the same bytes, so that they take little memory.
"""

from __future__ import annotations

import datetime
import io
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.hub import LocalHub

HERE = Path(__file__).parent
FILES, ROWS, BYTES, SCALE, IMAGES = 300, 4271, 110_000, 100, 2048


def parquet_file(row_group: int) -> bytes:
    """One file of images that cannot be compressed, in row groups of so many rows."""
    import datasets

    noise = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    images = [{"bytes": noise.bytes(BYTES // SCALE), "path": f"{row}.jpg"} for row in range(ROWS)]
    data = datasets.Dataset.from_dict({"image": images, "label": list(range(ROWS))}, features=features)
    buffer = io.BytesIO()
    data.to_parquet(buffer, batch_size=row_group, write_statistics=False)  # nor are there any of large images
    return buffer.getvalue()


def measured(hub: LocalHub, row_group: int) -> dict[str, Any]:
    """One draw: opened, and every image of it read."""
    from huggingface_hub.hf_file_system import HfFileSystemFile

    from hf_affscore.images import draw
    from hf_affscore.images.draw import draw_from_blocks
    from hf_affscore.images.open import locate_images, open_images
    from hf_affscore.options import Options

    name = f"ada/groups-of-{row_group}"
    content = parquet_file(row_group)
    hub.add("dataset", name, {f"data/train-{n:05}-of-{FILES:05}.parquet": content for n in range(FILES)})
    hub.log.clear()
    fetched: list[int] = []
    real = HfFileSystemFile._fetch_range

    def counted(self: Any, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return bytes(real(self, start, end))

    HfFileSystemFile._fetch_range = counted
    try:
        options = Options(num_samples=IMAGES)
        start = time.perf_counter()
        stream = open_images(locate_images(name, options), options, lambda: (3, 8, 8))
        opened, requests = time.perf_counter() - start, len(hub.log)
        footers = sum(fetched)
        items = ((None, [position]) for position in range(IMAGES))
        assert sum(1 for _ in stream.fetched(items)) == IMAGES
        seconds = time.perf_counter() - start
    finally:
        HfFileSystemFile._fetch_range = real
    blocks = stream.items._rows.blocks
    limit, draw.READ_LIMIT = draw.READ_LIMIT, 10**18
    uniform = draw_from_blocks(blocks, options).numbers[:IMAGES]
    draw.READ_LIMIT = limit
    ends = np.cumsum([block.rows for block in blocks])
    touched = np.unique(ends.searchsorted(uniform, side="right"))
    return {
        "row_group": row_group,
        "draw": stream.metadata["draw"],
        "requests": len(hub.log),
        "opening": requests,
        "opened": opened,
        "seconds": seconds,
        "footers": footers,
        "bytes": (sum(fetched) - footers) * SCALE,
        "uniform": sum(blocks[block].size for block in touched) * SCALE,
        "groups": len(blocks),
        "touched": len(touched),
    }


def main() -> None:
    hub = LocalHub()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(hub.environment(Path(home)))
        from hf_affscore.images import draw, parquet

        for module, name in ((draw, "READ_LIMIT"), (parquet, "REQUEST")):
            setattr(module, name, getattr(module, name) // SCALE)
        rows = [measured(hub, size) for size in (10, 100, 1000)]
    hub.close()
    lines = [
        "# What a draw costs",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} cores; datasets {version('datasets')}, "
        f"pyarrow {version('pyarrow')}. Made by `python -m benchmarks.draw`.",
        "",
        f"{IMAGES:,} images of {FILES * ROWS:,} in {FILES} Parquet files, {FILES * ROWS * BYTES / 1e9:.0f} GB; "
        "bytes are those of images of 110 KB. A range is two requests: one to the Hub, which points to where the "
        "file lies, and one to there. The last column is what a uniform draw would read.",
        "",
        "| rows in a row group | draw | row groups read | GB read | requests | at opening | uniform, GB |",
        "| --: | --- | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        method = row["draw"]["method"]
        read = row["draw"].get("drawn_row_groups", row["touched"])
        lines.append(
            f"| {row['row_group']:,} | {method} | {read:,} of {row['groups']:,} | {row['bytes'] / 1e9:.2f} | "
            f"{row['requests']:,} | {row['opening']:,} | {row['uniform'] / 1e9:.1f} |"
        )
    seconds = ", ".join(f"{row['opened']:.0f} s of {row['seconds']:.0f} s" for row in rows)
    lines += ["", f"Opening took {seconds} here, with a server in Python on the same cores.", ""]
    text = "\n".join(lines)
    print(text)
    (HERE / "draw.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
