"""A stand-in for AWS: moto's server in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.support.aws import stand_in


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    """The address of a server that speaks like AWS; everything in it is forgotten behind each module."""
    with stand_in() as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 finds, and nothing of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def aws(service: str, url: str) -> Any:
    """boto3's client of a service there."""
    return boto3.client(service, region_name="us-east-1", endpoint_url=url)
