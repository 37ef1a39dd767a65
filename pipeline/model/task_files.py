"""Parquet files that Spark's tasks write themselves: rows that Python makes need not pass through Java on their way."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext

ROWS = 65_536  # per row group: about half a MiB of lists, so that looking up five movies reads little


class TaskFiles:
    """The Parquet files of one table, one per partition that has rows, named in the order of the partitions.

    Every attempt at a task writes a file of its own, aside. Spark hands on the names of those that it counts, once
    each, and keep() puts these in their place. Driver and executors must see the folder under the same path.
    """

    COLUMNS = "attempt string"  # of the table that write() makes

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        """Empty the folder, where it is there already. Raises OSError: what stayed would be rows of the table."""
        self.folder, self.schema = folder.absolute(), schema  # executors work elsewhere
        self.aside = self.folder / "_attempts"
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.aside.mkdir(parents=True)

    def write(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write a partition's rows, and yield in their place the name of the file; for mapInArrow. Raises OSError."""
        task, writer = TaskContext.get(), None
        name = f"part-{task.partitionId():05d}.{task.taskAttemptId()}"
        for batch in batches:
            if batch.num_rows:
                if writer is None:
                    writer = pq.ParquetWriter(self.aside / name, self.schema, **self._options())
                writer.write_batch(batch, row_group_size=ROWS)
        if writer is not None:
            writer.close()
            yield pa.RecordBatch.from_pydict({"attempt": [name]})

    def _options(self) -> dict[str, Any]:
        # Similarities hardly repeat: a dictionary of them would take half as much again.
        coded = [field.name for field in self.schema if not pa.types.is_floating(field.type)]
        return {"compression": "zstd", "use_dictionary": coded, "write_page_index": True, "store_schema": False}

    def keep(self, attempts: Iterable[str]) -> None:
        """Put the files of these attempts in their place, and remove all others. Raises OSError."""
        for name in attempts:
            (self.aside / name).rename(self.folder / f"{name.partition('.')[0]}.zstd.parquet")
        shutil.rmtree(self.aside)
