"""The file of credentials: read, read again, written, and refused."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.iam.errors import StoreError
from broker.iam.store import CredentialStore

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/Replicator"
POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kafka-cluster:*", "Resource": "*"}}
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
FILE: dict[str, Any] = {
    "account": ACCOUNT,
    "credentials": [{"access_key_id": "AKIAALICE", "secret_access_key": "very-secret", "principal_arn": ALICE}],
    "identities": [{"arn": ALICE, "policies": [POLICY], "tags": {"team": "shop"}}],
    "roles": [{"arn": ROLE, "trust": {}, "policies": [POLICY]}],
}


def written(path: Path, content: Any) -> Path:
    made = path / "credentials.json"
    made.write_text(content if isinstance(content, str) else json.dumps(content))
    return made


def test_given_a_file_then_keys_identities_and_roles_are_found(tmp_path: Path) -> None:
    store = CredentialStore(written(tmp_path, FILE))
    found = store.find("AKIAALICE")
    assert found is not None
    assert found.principal_arn == ALICE
    assert "very-secret" not in repr(found)
    assert len(store.policies_of(ALICE)) == 1
    assert store.policies_of(f"arn:aws:iam::{ACCOUNT}:user/bob") == ()
    assert store.find("AKIABOB") is None
    assert store.role(ROLE) is not None


def test_given_a_role_session_then_it_has_the_roles_policies_is_in_the_file_and_expires(tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    path = written(tmp_path, FILE)
    store = CredentialStore(path, now=lambda: at)
    made = store.add_role_session(ROLE, "one", lifetime_s=60)
    assert made.principal_arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/Replicator/one"
    assert made.expires == at + timedelta(seconds=60)
    assert len(store.policies_of(made.principal_arn)) == 1
    assert CredentialStore(path).find(made.access_key_id) == made
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    at += timedelta(seconds=61)
    store.add_role_session(ROLE, "two")
    assert store.find(made.access_key_id) is None
    with pytest.raises(StoreError, match="no role"):
        store.add_role_session(ROLE + "x", "one")


def test_given_a_changed_file_then_it_counts_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, FILE)
    store = CredentialStore(path)
    written(tmp_path, FILE | {"credentials": []})
    assert store.find("AKIAALICE") is None
    written(tmp_path, FILE)
    assert store.find("AKIAALICE") is not None
    written(tmp_path, "{")
    assert store.find("AKIAALICE") is not None
    assert "going on with the credentials as they were" in caplog.text
    assert store.refused_files == 1
    path.unlink()
    assert store.find("AKIAALICE") is not None


def test_given_the_environments_keys_then_they_are_the_accounts_root() -> None:
    store = CredentialStore.from_environment({"AWS_ACCESS_KEY_ID": "AKIAENV0", "AWS_SECRET_ACCESS_KEY": "s"})
    found = store.find("AKIAENV0")
    assert found is not None
    assert found.principal_arn == f"arn:aws:iam::{store.account}:root"
    assert CredentialStore.from_environment({}).find("AKIAENV0") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Invalid JSON"),
        (FILE | {"account": "12"}, "account"),
        (FILE | {"passwords": []}, "passwords"),
        (FILE | {"credentials": [{"access_key_id": "AKIAALICE", "secret_access_key": "very-secret"}]}, "principal_arn"),
        (FILE | {"identities": [{"arn": ALICE, "policies": [{"Statement": {"Effect": "Maybe"}}]}]}, "Effect must be"),
        (FILE | {"roles": [{"arn": ROLE, "trust": {"Statement": {"Effect": "Maybe"}}}]}, "Effect must be"),
    ],
)
def test_given_a_bad_file_then_said_where_without_secrets(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(StoreError, match=said) as refused:
        CredentialStore(written(tmp_path, content))
    assert "very-secret" not in str(refused.value)


def test_given_no_file_then_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        CredentialStore(tmp_path / "none.json")
