"""A signed-off report: as it was written, or known to have been changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from replicator.dr.report import Difference, PartitionReport, VerifyReport
from replicator.dr.sign_off import check, read_key, write
from replicator.errors import ConfigurationError

KEY = b"0123456789abcdef0123"


def report(**more: object) -> VerifyReport:
    difference = Difference(kind="missing", source_offset=5, target_offset=-1, detail="key b'<script>'")
    part = PartitionReport(
        topic="orders", partition=0, target_topic="us.orders", source_start=0, source_end=10, target_start=0,
        target_end=9, records=9, missing=1, differences=(difference,), source_checksum="ab" * 32,
        target_checksum="cd" * 32, notes=("</script> & ü",),
    )  # fmt: skip
    known = {
        "link": "l", "source": "us", "source_id": "s-1", "target": "eu", "target_id": "t-1", "what": "everything",
        "by": "alice@ops", "ok": False, "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T01:00:00+00:00",
        "seconds": 12.5, "records": 9, "differences": 1, "uncopied": 0, "partitions": (part,), "version": "1",
    }  # fmt: skip
    return VerifyReport.model_validate({**known, **more})


@pytest.mark.parametrize("key", [None, KEY])
def test_given_a_directory_then_both_forms_are_written_and_found_unchanged(tmp_path: Path, key: bytes | None) -> None:
    signed, files = write(report(), tmp_path / "reports", key)
    assert [file.name for file in files] == ["verify-l-20260101T010000Z.json", "verify-l-20260101T010000Z.html"]
    for file in files:
        found, claimed, wrong = check(file, key)
        assert (found, claimed, wrong) == (report(), signed, [])
    assert bool(signed.hmac_sha256) is (key is not None)
    page = files[1].read_text()
    assert page.count("</script>") == 1
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("https://replicator", "")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("r.json", lambda text: text.replace('"missing": 1', '"missing": 0'), "it was changed"),
        ("r.html", lambda text: text.replace('"missing": 1', '"missing": 0'), "it was changed"),
        ("r.html", lambda text: text.replace("the two sides differ", "all is well"), "what the page shows isn't"),
    ],
)
def test_given_a_change_by_hand_then_it_is_found(
    tmp_path: Path, name: str, change: Callable[[str], str], said: str
) -> None:
    _, (file,) = write(report(), tmp_path / name)
    before = file.read_text()
    file.write_text(change(before))
    assert file.read_text() != before
    (wrong,) = check(file)[2]
    assert said in wrong


def test_given_a_key_then_a_report_signed_anew_without_it_is_found(tmp_path: Path) -> None:
    _, (signed,) = write(report(), tmp_path / "signed.json", KEY)
    _, (unsigned,) = write(report(), tmp_path / "unsigned.json")
    _, (forged,) = write(report(ok=True), tmp_path / "forged.json", b"another key, as long")
    assert check(signed, KEY)[2] == []
    assert check(signed)[2] == []
    assert check(unsigned, KEY)[2] == ["it wasn't signed with a key"]
    assert "isn't that of this key" in check(forged, KEY)[2][0]


def test_given_other_files_then_they_are_refused_with_why(tmp_path: Path) -> None:
    for name, text in (("a.json", "{}"), ("b.html", "<html></html>"), ("c.json", "no"), ("d.json", '{"report": 1}')):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigurationError, match="isn't a report"):
            check(tmp_path / name)
    with pytest.raises(ConfigurationError, match="can't be read"):
        check(tmp_path / "none.json")
    (tmp_path / "key").write_text("short\n")
    with pytest.raises(ConfigurationError, match="16 bytes or more"):
        read_key(tmp_path / "key")
    with pytest.raises(ConfigurationError, match="isn't a report"):
        check(write(report(), tmp_path / "x.json")[1][0].replace(tmp_path / "x.html"))


def test_given_the_same_report_then_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(report(), tmp_path / name)[1][0].read_bytes() for name in ("a.html", "b.html"))
    assert first == second
    assert json.loads(write(report(), tmp_path / "c.json")[1][0].read_text())["report"]["link"] == "l"
