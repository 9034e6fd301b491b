"""A stand-in for AWS (moto's server) and an environment that leads to it alone."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from replicator.credentials.aws import forget_sessions


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment without anything of AWS's, nor of a machine that runs there."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    forget_sessions()
    yield monkeypatch
    forget_sessions()


@contextlib.contextmanager
def stand_in() -> Iterator[str]:
    """The address of a server that speaks like AWS, and has nothing in it yet."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        forget = urllib.request.Request(f"{url}/moto-api/reset", data=b"", method="POST")
        with urllib.request.urlopen(forget, timeout=10):  # what others have made is in the same memory
            pass
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """Where moto's server answers for all of AWS."""
    with stand_in() as url:
        yield url


@pytest.fixture
def aws(no_aws: pytest.MonkeyPatch, moto_url: str) -> str:
    """Credentials, and moto as AWS."""
    no_aws.setenv("AWS_ENDPOINT_URL", moto_url)
    no_aws.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    no_aws.setenv("AWS_REGION", "us-east-1")
    forget_sessions()
    return moto_url
