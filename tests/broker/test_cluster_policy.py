"""The resource policy beside a cluster file: as it is now, and as it was where it isn't valid any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.file_cluster import ClusterPolicy
from broker.iam.policy import MAX_BYTES

VALID = json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}})
SECRET = "of-nobodys-business"


def test_given_no_file_then_there_is_no_policy_until_there_is_one(tmp_path: Path) -> None:
    policy = ClusterPolicy(tmp_path / "policy.json")
    assert policy.now() is None
    (tmp_path / "policy.json").write_text(VALID)
    assert policy.now() is not None
    (tmp_path / "policy.json").unlink()
    assert policy.now() is None
    assert ClusterPolicy(None).now() is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 10_000,
        json.dumps({"Statement": {"Effect": SECRET, "Principal": "*", "Action": "*", "Resource": "*"}}),
        json.dumps({"Statement": {"Effect": "Allow", "Action": "kafka-cluster:*", "Resource": "*"}}),
        VALID + " " * MAX_BYTES,
    ],
    ids=["no-json", "deep", "no-effect", "no-principal", "long"],
)
def test_given_one_that_isnt_valid_then_it_is_refused_counted_and_the_one_before_goes_on_counting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "policy.json"
    path.write_text(VALID)
    policy = ClusterPolicy(path)
    before = policy.now()
    path.write_text(text)
    assert policy.now() is before is not None
    assert policy.now() is before  # is looked at once
    assert policy.refused == 1
    assert "going on with the cluster policy as it was" in caplog.text
    assert SECRET not in caplog.text
