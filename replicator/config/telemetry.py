"""The settings under `service` that say where metrics and log lines go besides `/metrics` and stderr."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from replicator.config.fields import Boolean, Frozen, Size


class CloudWatchConfig(Frozen):
    """Metrics for Amazon CloudWatch, under MSK Replicator's names; credentials are found as boto3 finds them."""

    namespace: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z._\-/#:]+$")] = "Replicator"
    """The metrics' namespace. What begins with `AWS/` is Amazon's own and refused."""
    region: str | None = None
    """AWS region; without it as boto3 finds it (`AWS_REGION`, profile)."""
    endpoint_url: str | None = None
    """Another address than the region's own: a VPC endpoint, or a stand-in for tests."""
    every: Annotated[int, Field(ge=5, le=3600)] = 60
    """Seconds between two data points; below 60 they are stored at high resolution, which costs more."""
    per_topic: Boolean = True  # as MSK Replicator does
    """Latency, lag and throughput of each topic besides those of the link: three more metrics for each."""
    max_topics: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Of how many topics of a link, at most: every metric costs money. Those most behind come first."""

    @field_validator("namespace")
    @classmethod
    def _not_reserved(cls, namespace: str) -> str:
        if namespace.lower().startswith("aws/"):
            raise ValueError("namespaces that begin with AWS/ are reserved by CloudWatch: take another, as Replicator")
        return namespace


class LogFileConfig(Frozen):
    """A file that is followed by others when it is full."""

    path: Annotated[str, Field(min_length=1)]
    """Where; its folder has to be there. With `--workers N` each worker adds its name: `replicator.w0.log`."""
    max_bytes: Annotated[Size, Field(ge=1 << 16)] = 64 << 20
    """How large it grows before the next one begins."""
    keep: Annotated[int, Field(ge=0, le=1000)] = 5
    """How many earlier ones are kept: `PATH.1` is the newest of them."""


class LogGroupConfig(Frozen):
    """Amazon CloudWatch Logs."""

    log_group: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[.\-_/#A-Za-z0-9]+$")]
    """The log group; it has to be there. Each worker has a log stream of its own in it, and makes that."""


class LogStreamConfig(Frozen):
    """Amazon Data Firehose."""

    delivery_stream: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]
    """The delivery stream; each line is a record."""


class LogBucketConfig(Frozen):
    """Amazon S3, or what speaks its protocol."""

    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    """The bucket; objects are gzip of JSON lines, named by time and worker."""
    prefix: Annotated[str, Field(max_length=512)] = ""
    """What their names begin with."""
    every: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds until an object is written, if 5 MiB of lines aren't there before."""


class LogDeliveryConfig(Frozen):
    """Where log lines go besides stderr, as JSON; credentials are found as boto3 finds them."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is less than this isn't delivered; nor is what `--log-level` leaves out."""
    buffer_bytes: Annotated[Size, Field(ge=1 << 16)] = 8 << 20
    """What waits for each destination, at most: lines beyond it are dropped and counted."""
    log_file: LogFileConfig | None = None  # not `file`: that would mean the content of one, as with secrets
    """A file."""
    cloudwatch_logs: LogGroupConfig | None = None
    """A log group of CloudWatch Logs."""
    firehose: LogStreamConfig | None = None
    """A delivery stream of Data Firehose."""
    s3: LogBucketConfig | None = None
    """A bucket of S3."""
    region: str | None = None
    """AWS region; without it as boto3 finds it."""
    endpoint_url: str | None = None
    """Another address than the region's own, for all of them."""
