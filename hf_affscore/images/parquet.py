"""Parquet files a few rows at a time: memory does not depend on how a file was written, or how large it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
from datasets.builder import Key
from datasets.download.streaming_download_manager import xopen
from datasets.packaged_modules.parquet.parquet import Parquet

#: Rows that are decoded at once, and the bytes of each column that are read ahead of them.
ROWS = 16
READ_AHEAD = 1 << 20


class BoundedParquet(Parquet):  # type: ignore[misc]  # datasets has no types
    """The Parquet reader of ``datasets``, with the same rows in the same order, which does not run ahead.

    The original reads in threads that nothing holds back: of a file with photographs in it, all is decoded
    long before the network has come that far, and a row group that holds the whole file is decoded at once.
    """

    SLEEP_ON_THREADS_SHUTDOWNS = False  # five seconds at the end, for the threads that there are none of here

    def _generate_tables(
        self, files: list[str], row_groups_list: list[tuple[int, ...] | None]
    ) -> Iterator[tuple[Key, pyarrow.Table]]:
        access = datasets.DownloadConfig(token=self.token, storage_options=self.storage_options)
        for number, (path, row_groups) in enumerate(zip(files, row_groups_list, strict=True)):
            with (
                xopen(path, "rb", download_config=access) as raw,
                pyarrow.parquet.ParquetFile(raw, buffer_size=READ_AHEAD, pre_buffer=False) as file,
            ):
                batches = file.iter_batches(ROWS, row_groups, self.config.columns, use_threads=False)
                for index, batch in enumerate(batches):
                    yield Key(number, index), self._cast_table(pyarrow.Table.from_batches([batch]))


def open_streaming(path: str, name: str | None, **where: Any) -> Any:
    """``datasets.load_dataset(path, name, streaming=True, **where)``, its Parquet files read within bounds.

    A configuration that filters rows, in the data set's own README, is left to the original reader.
    """
    builder = datasets.load_dataset_builder(path, name, **where)
    if isinstance(builder, Parquet) and builder.config.filters is None:
        builder.__class__ = BoundedParquet
    return builder.as_streaming_dataset()
