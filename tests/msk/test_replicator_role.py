"""Whom replicators act as: sessions of their role, which brokers know and which are renewed in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from broker.iam.errors import StoreError
from broker.iam.policy import Question, decide
from broker.iam.store import Accounts, CredentialStore
from broker.msk.errors import BadRequest
from broker.msk.replicators.policies import TRUST
from broker.msk.replicators.role import LIFETIME_S, Roles, environment

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/Replication"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Replication/{ACCOUNT}"
TOPIC = "arn:aws:kafka:us-east-1:123456789012:topic/us-cluster/uuid-1"


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def _file(directory: Path, **fields: Any) -> Path:
    path = directory / "credentials.json"
    path.write_text(Accounts.model_validate({"account": ACCOUNT} | fields).model_dump_json())
    path.chmod(0o600)
    return path


def _allowed(path: Path, action: str, resource: str) -> bool:
    documents = CredentialStore(path).policies_of(SESSION)
    return decide(Question(action, resource, SESSION), identity=documents).allowed


def test_a_session_may_what_its_role_may_and_keep_what_the_link_keeps_for_itself(tmp_path: Path) -> None:
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "kafka-cluster:ReadData", "Resource": f"{TOPIC}/orders"}]}  # fmt: skip
    path = _file(tmp_path, roles=[{"arn": ROLE, "trust": TRUST, "policies": [policy]}])
    roles = Roles(path, Clock(), made_up=False)
    roles.check(ROLE, ACCOUNT)
    roles.renew(ROLE, ACCOUNT, tmp_path)
    assert _allowed(path, "kafka-cluster:ReadData", f"{TOPIC}/orders")
    assert not _allowed(path, "kafka-cluster:ReadData", f"{TOPIC}/payments")
    assert not _allowed(path, "kafka-cluster:WriteData", f"{TOPIC}/orders")
    assert _allowed(path, "kafka-cluster:WriteData", f"{TOPIC}/__replicator_copy-0a1b2c3d_ledger")
    ids = TOPIC.replace(":topic/", ":transactional-id/")
    assert _allowed(path, "kafka-cluster:AlterTransactionalId", f"{ids}/replicator.copy-0a1b2c3d.0.x.t")
    assert not _allowed(path, "kafka-cluster:AlterTransactionalId", f"{ids}/payments")
    assert not _allowed(path, "kafka-cluster:AlterGroup", f"{TOPIC.replace(':topic/', ':group/')}/app-1")


def test_what_is_taken_from_the_role_is_taken_from_its_sessions(tmp_path: Path) -> None:
    every = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kafka-cluster:*", "Resource": "*"}]}
    path = _file(tmp_path, roles=[{"arn": ROLE, "trust": TRUST, "policies": [every]}])
    roles = Roles(path, Clock(), made_up=False)
    roles.renew(ROLE, ACCOUNT, tmp_path)
    assert _allowed(path, "kafka-cluster:ReadData", f"{TOPIC}/orders")
    store = CredentialStore(path)
    role = store.accounts.roles[0].model_copy(update={"policies": ()})
    store.write(store.accounts.model_copy(update={"roles": (role,)}))
    roles.renew(ROLE, ACCOUNT, tmp_path)
    assert not _allowed(path, "kafka-cluster:ReadData", f"{TOPIC}/orders")


def test_credentials_are_found_by_clients_and_renewed_before_they_expire(tmp_path: Path) -> None:
    clock = Clock()
    clock.at = datetime.now(UTC)
    path = _file(tmp_path, roles=[{"arn": ROLE, "trust": TRUST}])
    roles = Roles(path, clock, made_up=False)
    roles.renew(ROLE, ACCOUNT, tmp_path)
    first = json.loads((tmp_path / "session.json").read_text())
    assert datetime.fromisoformat(first["Expiration"]) == clock.at + timedelta(seconds=LIFETIME_S)
    roles.renew(ROLE, ACCOUNT, tmp_path)
    assert json.loads((tmp_path / "session.json").read_text()) == first
    clock.at += timedelta(seconds=LIFETIME_S - 60)
    roles.renew(ROLE, ACCOUNT, tmp_path)
    assert json.loads((tmp_path / "session.json").read_text()) != first
    assert CredentialStore(path).find(first["AccessKeyId"]) is not None, "the old ones are good until they expire"


def test_a_child_has_its_roles_credentials_and_nothing_of_the_control_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, roles=[{"arn": ROLE, "trust": TRUST}])
    directory = tmp_path / "it's a directory"
    directory.mkdir()
    Roles(path, lambda: datetime.now(UTC), made_up=False).renew(ROLE, ACCOUNT, directory)
    base = {"PATH": "/usr/bin:/bin", "AWS_ACCESS_KEY_ID": "AKIAROOT", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "x"}
    made = environment(directory, "us-east-1", base)
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} & made.keys()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    found = botocore.session.Session().get_credentials()
    frozen = found.get_frozen_credentials()
    known = CredentialStore(path).find(frozen.access_key)
    assert known is not None
    assert known.principal_arn == SESSION
    assert frozen.secret_key == known.secret_access_key.get_secret_value()


def test_without_a_credential_file_roles_are_made_up_with_the_rights_of_the_managed_policy(tmp_path: Path) -> None:
    path = _file(tmp_path)
    roles = Roles(path, Clock(), made_up=True)
    roles.check(ROLE, ACCOUNT)
    roles.renew(ROLE, ACCOUNT, tmp_path)
    assert _allowed(path, "kafka-cluster:WriteData", f"{TOPIC}/orders")
    assert not _allowed(path, "kafka-cluster:DeleteTopic", f"{TOPIC}/orders")
    with pytest.raises(BadRequest, match="doesn't exist"):
        Roles(_file(tmp_path), Clock(), made_up=False).check(ROLE, ACCOUNT)


def test_a_role_that_is_gone_or_trusts_nobody_any_more_gives_no_credentials(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no role"):
        Roles(_file(tmp_path), Clock(), made_up=False).renew(ROLE, ACCOUNT, tmp_path)
    with pytest.raises(StoreError, match="trust policy"):
        Roles(_file(tmp_path, roles=[{"arn": ROLE}]), Clock(), made_up=False).renew(ROLE, ACCOUNT, tmp_path)
