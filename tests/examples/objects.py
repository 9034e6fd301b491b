"""What is in an archive, judged without the archive's own code for writing."""

from __future__ import annotations

import io
import re
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from examples.archive.settings import Bucket

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
}  # fmt: skip


class Row(NamedTuple):
    """A record in the archive."""

    offset: int
    value: Any
    key: bytes | None
    date: str


class ObjectStore(NamedTuple):
    """A bucket and a client for it."""

    client: Any
    bucket: Bucket

    def keys(self, prefix: str = "") -> list[str]:
        """All names in the bucket, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.bucket, Prefix=prefix)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def rows(self, topic: str, partition: int, *, dead_letters: bool = False) -> list[Row]:
        """All records of a partition in the order of the objects' names; asserts that the objects are a chain.

        Of dead letters only those that count: beside an object that begins and ends where they do.
        """
        found: list[Row] = []
        folder = f"{self.bucket.prefix}/{'_dead_letters/' if dead_letters else ''}topic={topic}/partition={partition}/"
        chain = sorted(self.keys(folder), key=lambda key: key.rsplit("/", 1)[1])
        behind = -1
        for key in chain:
            answer = self.client.get_object(Bucket=self.bucket.bucket, Key=key)
            table = pq.read_table(io.BytesIO(answer["Body"].read()), partitioning=None)
            if dead_letters:
                first, following = key.rsplit("/", 1)[1].removesuffix(".parquet").split("-")
                beside = f"{key.replace('_dead_letters/', '').rsplit('/', 1)[0]}/{first}.parquet"
                if self._following(beside) != int(following):
                    continue
            else:
                begin = int(key.rsplit("/", 1)[1].removesuffix(".parquet"))
                assert begin >= behind, f"{key} begins within the object before it, which ends at {behind}"
                behind = int(answer["Metadata"]["next-offset"])
                assert begin < behind
            date = re.search(r"date=([^/]+)/", key)
            assert date is not None
            found += [Row(row["offset"], row["value"], row["key"], date[1]) for row in table.to_pylist()]
        return found

    def _following(self, key: str) -> int | None:
        if key not in self.keys(key):
            return None
        return int(self.client.head_object(Bucket=self.bucket.bucket, Key=key)["Metadata"]["next-offset"])
