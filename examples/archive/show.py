"""`python -m examples.archive.show archive.yaml`: what is in the archive, per topic, partition and day."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from examples.archive.names import folder
from examples.archive.settings import Settings
from examples.archive.store import s3_client


class Part(NamedTuple):
    """One object: its name, its metadata in the store, and its rows."""

    key: str
    metadata: dict[str, str]
    table: pa.Table


def parts(client: Any, bucket: str, prefix: str) -> Iterator[Part]:
    """All objects under a prefix, by name."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            answer = client.get_object(Bucket=bucket, Key=item["Key"])
            table = pq.read_table(pa.BufferReader(answer["Body"].read()), partitioning=None)
            yield Part(item["Key"], answer["Metadata"], table)


def main() -> int:
    """One line per object: its name, how many records it has, and how many dead letters are beside it."""
    settings = Settings.load(Path(sys.argv[1]))
    client = s3_client(settings.store)
    prefix = settings.store.prefix.strip("/")
    for topic in sorted(settings.topics):
        for partition in range(1_000):
            found = list(parts(client, settings.store.bucket, folder(prefix, topic, partition)))
            if not found:
                break
            for part in found:
                print(f"{part.key}: {part.table.num_rows} records, {part.metadata['dead-letters']} dead letters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
