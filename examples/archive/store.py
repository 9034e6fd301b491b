"""The archive in a bucket: where a partition's chain ends, and how an object is added to it (see `names.py`)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from examples.archive.chunk import Chunk
from examples.archive.errors import ArchiveError, Overtaken
from examples.archive.names import folder, name, offsets
from examples.archive.pack import Packed
from examples.archive.settings import Bucket

_CONFLICT_TRIES = 5  # S3 answers 409 while two conditional writes of one name are on their way


def s3_client(bucket: Bucket) -> Any:
    """boto3's client, with bounded waits and retries."""
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 8})
    return boto3.client("s3", endpoint_url=bucket.endpoint_url, config=config)


class Store:
    """One bucket. Errors of S3 that don't pass by themselves come out as botocore's."""

    def __init__(self, client: Any, bucket: Bucket) -> None:
        self._client = client
        self._bucket = bucket.bucket
        self._prefix = bucket.prefix

    def position(self, topic: str, partition: int) -> int | None:
        """The offset behind the last object; None if there is no object. Lists all names of the partition."""
        last: tuple[int, str] | None = None
        for key in self._keys(folder(self._prefix, topic, partition)):
            found = offsets(key)
            if found is not None and (last is None or found[0] > last[0]):
                last = (found[0], key)
        return None if last is None else self._following(last[1])

    def add(self, chunk: Chunk, packed: Packed) -> None:
        """Add the chunk: its dead letters, then the object that makes both count. Overtaken: another was first."""
        dead_letters = folder(self._prefix, chunk.topic, chunk.partition, dead_letters=True)
        letters = dead_letters + name(chunk.date, chunk.first, chunk.following)
        key = folder(self._prefix, chunk.topic, chunk.partition) + name(chunk.date, chunk.first)
        if packed.dead_letters is not None:
            self._client.put_object(Bucket=self._bucket, Key=letters, Body=packed.dead_letters)
        try:
            self._create(key, packed, chunk.following)
        except Overtaken:
            if packed.dead_letters is not None and self._following(key) != chunk.following:
                self._client.delete_object(Bucket=self._bucket, Key=letters)
            raise

    def remove_leftovers(self, chunk: Chunk) -> int:
        """Remove dead-letter objects that a crash has left where this chunk, which is in the archive now, begins."""
        removed = 0
        for key in self._keys(folder(self._prefix, chunk.topic, chunk.partition, dead_letters=True)):
            if (found := offsets(key)) and found[0] == chunk.first and found[1] != chunk.following:
                self._client.delete_object(Bucket=self._bucket, Key=key)
                removed += 1
        return removed

    def _create(self, key: str, packed: Packed, following: int) -> None:
        writer = uuid.uuid4().hex  # tells our own write, repeated after a lost answer, from another's
        metadata = {"next-offset": str(following), "writer": writer}
        metadata |= {"records": str(packed.good), "dead-letters": str(packed.dead)}
        for _ in range(_CONFLICT_TRIES):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=packed.body, Metadata=metadata, IfNoneMatch="*",
                    ContentType="application/vnd.apache.parquet",
                )  # fmt: skip
                return
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 409:
                    continue
                if status != 412:
                    raise
                if self._metadata(key).get("writer") == writer:
                    return
                raise Overtaken(f"{key}: another process has archived this already") from None
        raise ArchiveError(f"{key}: S3 saw conflicting writes {_CONFLICT_TRIES} times; start again when they are over")

    def _following(self, key: str) -> int:
        try:
            return int(self._metadata(key)["next-offset"])
        except (KeyError, ValueError):
            raise ArchiveError(
                f"{key}: has no next-offset in its metadata, so it wasn't written by the archive; move it elsewhere"
            ) from None

    def _metadata(self, key: str) -> dict[str, str]:
        return dict(self._client.head_object(Bucket=self._bucket, Key=key)["Metadata"])

    def _keys(self, prefix: str) -> Iterator[str]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                yield item["Key"]
