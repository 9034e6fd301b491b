"""Control planes with clusters that are only pretended, for all that isn't about brokers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.msk.world import ACCOUNT, Fakes, World, control_plane


@pytest.fixture
def fakes() -> Fakes:
    """What the control plane's clusters are."""
    return Fakes()


@pytest.fixture
def world(tmp_path: Path, fakes: Fakes) -> Iterator[World]:
    """A control plane whose only user is the environment's root."""
    with control_plane(tmp_path / "msk", start_cluster=fakes) as found:
        yield found


@pytest.fixture
def kafka(world: World) -> Any:
    """Root's client."""
    return world.client()


@pytest.fixture(scope="module")
def shared_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Root's client of a control plane that a module's tests share: for calls that change nothing."""
    with control_plane(tmp_path_factory.mktemp("msk"), start_cluster=Fakes()) as found:
        yield found.client()


def credentials_file(path: Path, users: dict[str, list[dict[str, Any]]]) -> Path:
    """A credentials file with users, each with an access key AKIA + NAME, secret NAME-secret, and policies."""
    names = {name: f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in users}
    content = {
        "account": ACCOUNT,
        "credentials": [
            {
                "access_key_id": f"AKIA{name.upper()}",
                "secret_access_key": f"{name}-secret",
                "session_token": None,
                "principal_arn": arn,
                "expires": None,
            }
            for name, arn in names.items()
        ],
        "identities": [{"arn": names[name], "policies": policies, "tags": {}} for name, policies in users.items()],
        "roles": [],
    }
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return path


def keys(name: str) -> dict[str, str]:
    """The access key of a user of `credentials_file`."""
    return {"AWS_ACCESS_KEY_ID": f"AKIA{name.upper()}", "AWS_SECRET_ACCESS_KEY": f"{name}-secret"}
