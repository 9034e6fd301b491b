"""Signing a verification's report off: a SHA-256 over its canonical JSON, and with a key an HMAC.

Canonical: keys in order, no spaces, UTF-8, no escapes that aren't needed. A file holds the report and its sign-off; one
as HTML holds the same JSON within, and is what `report_html` makes of it to the byte: what is shown is signed too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from replicator.dr.report import VerifyReport
from replicator.dr.report_html import document_in, render
from replicator.errors import ConfigurationError

_MIN_KEY = 16


@dataclass(frozen=True, slots=True)
class SignOff:
    """`hmac_sha256` is "" without a key."""

    sha256: str
    hmac_sha256: str = ""

    def as_json(self) -> dict[str, str]:
        """For the file."""
        return {"sha256": self.sha256} | ({"hmac_sha256": self.hmac_sha256} if self.hmac_sha256 else {})


def canonical(report: dict[str, Any]) -> bytes:
    """The bytes that are signed."""
    return json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign(report: dict[str, Any], key: bytes | None = None) -> SignOff:
    """The sign-off of a report, as it stands in JSON."""
    data = canonical(report)
    keyed = "" if key is None else hmac.new(key, data, hashlib.sha256).hexdigest()
    return SignOff(hashlib.sha256(data).hexdigest(), keyed)


def read_key(file: Path) -> bytes:
    """The key in a file, without white space around it. ConfigurationError if it can't be read, or is short."""
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"--key-file {file} can't be read: {error.strerror}") from error
    if len(key) < _MIN_KEY:
        raise ConfigurationError(f"--key-file {file}: a key has {_MIN_KEY} bytes or more: `openssl rand -hex 32`")
    return key


def write(report: VerifyReport, to: Path, key: bytes | None = None) -> tuple[SignOff, list[Path]]:
    """Write the report to a file, .json or .html, or as both into a directory; its sign-off, and what was written."""
    document = report.model_dump(mode="json")
    signed = sign(document, key)
    whole = {"report": document, "sign_off": signed.as_json()}
    if to.suffix in (".json", ".html"):
        files = [to]
    else:
        name = f"verify-{report.link}-{report.finished.translate(str.maketrans('', '', ':-'))[:15]}Z"
        files = [to / f"{name}.json", to / f"{name}.html"]
    try:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            text = render(whole) if file.suffix == ".html" else json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--report {to} can't be written: {error.strerror}") from error
    return signed, files


def check(file: Path, key: bytes | None = None) -> tuple[VerifyReport, SignOff, list[str]]:
    """The report in a file, its sign-off, and what is wrong with it: nothing, if it is as it was signed.

    ConfigurationError if the file isn't a report at all.
    """
    try:
        text = file.read_bytes().decode()
        whole = document_in(text) if file.suffix == ".html" else json.loads(text)
        document, said = whole["report"], whole["sign_off"]
        report = VerifyReport.model_validate(document)
        claimed = SignOff(str(said["sha256"]), str(said.get("hmac_sha256", "")))
    except OSError as error:
        raise ConfigurationError(f"--check-report {file} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigurationError(f"{file} isn't a report of `replicator verify`: {error}") from error
    made = sign(document, key)
    wrong = []
    if not hmac.compare_digest(made.sha256, claimed.sha256):
        wrong.append(f"its SHA-256 is {made.sha256}, and it says {claimed.sha256}: it was changed")
    if key is not None and not claimed.hmac_sha256:
        wrong.append("it wasn't signed with a key")
    elif key is not None and not hmac.compare_digest(made.hmac_sha256, claimed.hmac_sha256):
        wrong.append("its HMAC isn't that of this key: it was changed, or signed with another one")
    if file.suffix == ".html" and not wrong and render(whole) != text:
        wrong.append("what the page shows isn't the report that is in it")
    return report, claimed, wrong
