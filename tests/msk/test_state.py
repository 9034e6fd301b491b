"""What is kept is on disk, whole, and what can't be read stops the start."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.msk.records import VpcConnectionRecord
from broker.msk.state import StateError, StateStore, write_atomically

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _record(key: str, state: str = "AVAILABLE") -> VpcConnectionRecord:
    return VpcConnectionRecord(
        key=key,
        arn=f"arn:{key}",
        region="us-east-1",
        account="123456789012",
        created=NOW,
        cluster_arn="c",
        state=state,
        authentication="SASL_IAM",
        vpc="vpc-1",
        subnets=[],
        security_groups=[],
    )


def test_records_are_there_after_a_restart_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    kept = StateStore(tmp_path).collection("things", VpcConnectionRecord)
    kept.put("a", _record("a"))
    kept.put("b", _record("b"))
    kept.put("a", _record("a", "REJECTED"))
    kept.delete("b")
    again = StateStore(tmp_path).collection("things", VpcConnectionRecord)
    assert list(again) == [_record("a", "REJECTED")]
    assert stat.S_IMODE((tmp_path / "things" / "a.json").stat().st_mode) == 0o600


def test_a_file_that_can_not_be_read_is_named_and_nothing_is_left_out(tmp_path: Path) -> None:
    StateStore(tmp_path).collection("things", VpcConnectionRecord).put("a", _record("a"))
    (tmp_path / "things" / "b.json").write_text('{"key": ')
    with pytest.raises(StateError, match=r"things/b\.json"):
        StateStore(tmp_path).collection("things", VpcConnectionRecord)


def test_half_a_file_from_a_crash_is_not_taken_for_a_record(tmp_path: Path) -> None:
    kept = StateStore(tmp_path).collection("things", VpcConnectionRecord)
    kept.put("a", _record("a"))
    (tmp_path / "things" / "a.json.tmp").write_text('{"key')
    assert len(StateStore(tmp_path).collection("things", VpcConnectionRecord)) == 1
    assert not (tmp_path / "things" / "a.json.tmp").exists()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = StateStore(tmp_path).collection("things", VpcConnectionRecord)
    kept.put("a", _record("a"))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        kept.put("a", _record("a", "REJECTED"))
    assert kept.get("a") == _record("a")
    monkeypatch.undo()
    assert list(StateStore(tmp_path).collection("things", VpcConnectionRecord)) == [_record("a")]


@pytest.mark.parametrize("key", ["", "../a", ".hidden"])
def test_keys_stay_within_their_directory(tmp_path: Path, key: str) -> None:
    kept = StateStore(tmp_path).collection("things", VpcConnectionRecord)
    with pytest.raises(ValueError, match="not a key"):
        kept.put(key, _record("a"))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", b"one")
    write_atomically(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
