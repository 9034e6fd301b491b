"""A stand-in for S3 as a process of its own, and a fresh bucket for every test."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator

import boto3
import pytest

from examples.archive.settings import Bucket
from tests.examples.objects import CREDENTIALS, ObjectStore
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports
from tests.support.waiting import wait_for


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Moto's server."""
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,
    )  # fmt: skip
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **CREDENTIALS)
    try:

        def serves() -> bool:
            try:
                client.list_buckets()
            except Exception as error:  # noqa: BLE001 - whatever it is, it isn't there yet
                raise AssertionError(str(error)) from None
            return True

        wait_for(serves, within=30, every=0.2, what="moto serves")
        yield f"http://127.0.0.1:{port}"
    finally:
        client.close()
        process.kill()
        process.wait(timeout=10)


@pytest.fixture
def objects(s3_url: str) -> Iterator[ObjectStore]:
    """A bucket of the test's own."""
    client = boto3.client("s3", endpoint_url=s3_url, **CREDENTIALS)
    bucket = Bucket(bucket=f"lake-{uuid.uuid4().hex[:12]}", endpoint_url=s3_url)
    client.create_bucket(Bucket=bucket.bucket)
    yield ObjectStore(client, bucket)
    client.close()
