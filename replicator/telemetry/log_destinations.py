"""The destinations of log lines: a file, CloudWatch Logs, Data Firehose, S3; each within its service's limits.

Sources: API references of PutLogEvents (10,000 events and 1,048,576 bytes, 26 bytes counted for each event; in order of
time; 24 hours at most between first and last), PutRecordBatch (500 records, 4 MiB; answers name what failed).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from replicator.config.telemetry import (
    LogBucketConfig,
    LogDeliveryConfig,
    LogFileConfig,
    LogGroupConfig,
    LogStreamConfig,
)
from replicator.telemetry.log_delivery import Destination, Line, NotDelivered

_DAY_MS = 23 * 3_600_000  # somewhat less than the 24 hours that a batch may span
_ERRORS = (BotoCoreError, ClientError)


def destinations(config: LogDeliveryConfig, instance: str, worker: str | None) -> list[Destination]:
    """Those that are configured. `instance` is this process among all, `worker` among those of one parent."""
    made: list[Destination] = []
    if config.log_file is not None:
        made.append(LogFile(config.log_file, worker))
    if config.cloudwatch_logs is not None:
        made.append(LogGroup(config.cloudwatch_logs, instance, Aws("logs", config)))
    if config.firehose is not None:
        made.append(DeliveryStream(config.firehose, Aws("firehose", config)))
    if config.s3 is not None:
        made.append(Bucket(config.s3, instance, Aws("s3", config)))
    return made


class Aws:
    """boto3's client of a service, made when it is needed first: that takes a third of a second."""

    def __init__(self, service: str, config: LogDeliveryConfig) -> None:
        self._service = service
        self._config = config
        self._client: Any = None

    def client(self) -> Any:
        """The client, with credentials by boto3's default chain."""
        if self._client is None:
            import boto3
            from botocore.config import Config

            patience = Config(
                connect_timeout=5, read_timeout=15, retries={"mode": "standard", "max_attempts": 2},
                s3={"addressing_style": "path"} if self._config.endpoint_url else None,
            )  # fmt: skip
            self._client = boto3.client(
                self._service,
                region_name=self._config.region,
                endpoint_url=self._config.endpoint_url,
                config=patience,
            )
        return self._client


class LogFile:
    """Lines in a file, which becomes `PATH.1` when it is full, and so on."""

    name = "file"
    max_lines, max_bytes, line_bytes, every_s = 10_000, 1 << 20, 1, 0.2

    def __init__(self, config: LogFileConfig, worker: str | None) -> None:
        path = Path(config.path)
        self._path = path if worker is None else path.with_name(f"{path.stem}.{worker}{path.suffix}")
        self._max_bytes, self._keep = config.max_bytes, config.keep

    def deliver(self, lines: Sequence[Line]) -> None:
        """Append them."""
        data = b"".join(line.text + b"\n" for line in lines)
        try:
            if self._path.exists() and self._path.stat().st_size + len(data) > self._max_bytes:
                self._rotate()
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            with open(fd, "ab", buffering=0) as file:
                file.write(data)
        except OSError as error:
            raise NotDelivered(f"{self._path}: {error.strerror or error}", lines) from error

    def _rotate(self) -> None:
        if not self._keep:
            self._path.unlink()
            return
        for number in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


class LogGroup:
    """A log stream of our own in a log group."""

    name = "cloudwatch_logs"
    max_lines, max_bytes, line_bytes, every_s = 10_000, 1_000_000, 26, 5.0

    def __init__(self, config: LogGroupConfig, instance: str, aws: Aws) -> None:
        self._where = {"logGroupName": config.log_group, "logStreamName": instance.replace(":", "-").replace("*", "-")}
        self._aws = aws
        self._there = False

    def deliver(self, lines: Sequence[Line]) -> None:
        """In order of time, those of one day at once."""
        ordered = sorted(lines, key=lambda line: line.time_ms)
        while ordered:
            now = [line for line in ordered if line.time_ms - ordered[0].time_ms < _DAY_MS]
            events = [{"timestamp": line.time_ms, "message": line.text.decode()} for line in now]
            try:
                self._make_stream()
                answer = self._aws.client().put_log_events(**self._where, logEvents=events)
            except _ERRORS as error:
                self._there = False
                raise NotDelivered(str(error), ordered) from error
            ordered = ordered[len(now) :]
            refused = _refused(answer.get("rejectedLogEventsInfo") or {}, len(now))
            if refused:
                raise NotDelivered("CloudWatch Logs refused events that were too old or too new", ordered, refused)

    def _make_stream(self) -> None:
        if self._there:
            return
        client = self._aws.client()
        try:
            client.create_log_stream(**self._where)
        except client.exceptions.ResourceAlreadyExistsException:
            pass
        self._there = True


def _refused(info: dict[str, int], count: int) -> int:
    """How many of a batch, by the indexes in its answer."""
    old = max(info.get("tooOldLogEventEndIndex", 0), info.get("expiredLogEventEndIndex", 0))
    return min(count, old) + max(0, count - info.get("tooNewLogEventStartIndex", count))


class DeliveryStream:
    """One record for each line, with its newline."""

    name = "firehose"
    max_lines, max_bytes, line_bytes, every_s = 500, 3 << 20, 8, 2.0

    def __init__(self, config: LogStreamConfig, aws: Aws) -> None:
        self._stream = config.delivery_stream
        self._aws = aws

    def deliver(self, lines: Sequence[Line]) -> None:
        """All of them, or those that the answer doesn't name as failed."""
        records = [{"Data": line.text + b"\n"} for line in lines]
        try:
            answer = self._aws.client().put_record_batch(DeliveryStreamName=self._stream, Records=records)
        except _ERRORS as error:
            raise NotDelivered(str(error), lines) from error
        if answer.get("FailedPutCount"):
            results = answer["RequestResponses"]
            left = [line for line, result in zip(lines, results, strict=True) if result.get("ErrorCode")]
            why = next((result["ErrorCode"] for result in results if result.get("ErrorCode")), "")
            raise NotDelivered(f"{len(left)} records failed: {why}", left)


class Bucket:
    """An object for each batch: `PREFIX2026/11/28/1907-INSTANCE-000001.log.gz`, by the time of its first line."""

    name = "s3"
    max_lines, max_bytes, line_bytes = 1_000_000, 10 << 20, 1

    def __init__(self, config: LogBucketConfig, instance: str, aws: Aws) -> None:
        self.every_s = float(config.every)
        self._bucket, self._prefix = config.bucket, config.prefix
        self._instance = instance
        self._aws = aws
        self._written = 0

    def deliver(self, lines: Sequence[Line]) -> None:
        """One object. A batch that is tried again replaces what came of the first try."""
        at = datetime.fromtimestamp(lines[0].time_ms / 1000, UTC)
        key = f"{self._prefix}{at:%Y/%m/%d/%H%M}-{self._instance}-{self._written:06d}.log.gz"
        data = gzip.compress(b"".join(line.text + b"\n" for line in lines), mtime=0)
        try:
            self._aws.client().put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType="application/x-ndjson", ContentEncoding="gzip"
            )
        except _ERRORS as error:
            raise NotDelivered(str(error), lines) from error
        self._written += 1
