"""Secrets that stand in files or in AWS Secrets Manager: read again when they are others, so that a rotated password is
used by the next connection, without a restart and without being told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import SecretStr, ValidatorFunctionWrapHandler, WrapValidator

from replicator.credentials.secrets_manager import STORE, SecretReference, part_of

MAX_BYTES = 64 << 10

log = structlog.get_logger(__name__)

Stamp = tuple[int, int, int]  # time of change, size, inode


class FileText(str):
    """What `{file: …}` stood for when the configuration was read, and where it was."""

    path: Path

    def __new__(cls, text: str, path: Path) -> FileText:
        made = super().__new__(cls, text)
        made.path = path
        return made


class FileSecret(SecretStr):
    """A secret that is what its file holds now. While that can't be read, or is empty, it is what it was."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self._path = path
        self._stamp = stamp_of(path)

    def get_secret_value(self) -> str:
        """As of now."""
        stamp = stamp_of(self._path)
        if stamp is not None and stamp != self._stamp:
            try:
                text = self._path.read_bytes()[:MAX_BYTES].decode().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                log.warning("a secret's file can't be read; going on with what it was", error=str(error))
            else:
                self._stamp = stamp
                if text and text != self._secret_value:
                    self._secret_value = text
                    log.info("a secret's file has changed", file=str(self._path))
        return self._secret_value


class AwsText(str):
    """What `{secretsmanager: …}` stood for when the configuration was read, and which part of which secret it was."""

    reference: SecretReference
    key: str | None
    default: str

    def __new__(cls, text: str, reference: SecretReference, key: str | None, default: str) -> AwsText:
        made = super().__new__(cls, text)
        made.reference, made.key, made.default = reference, key, default
        return made


class AwsSecret(SecretStr):
    """A secret that is what AWS Secrets Manager holds, within a minute of its use. While that can't be read, or has no
    such part, it is what it was."""

    def __init__(self, text: AwsText) -> None:
        super().__init__(str(text))
        self._text = text

    def get_secret_value(self) -> str:
        """As of now. Never waits: what was changed lately is there for the next connection."""
        found = STORE.present(self._text.reference)
        if found is not None and (part := part_of(found, self._text.key, self._text.default)):
            self._secret_value = part
        return self._secret_value


def stamp_of(path: str | Path) -> Stamp | None:
    """What tells whether a file is the same as before; None if it can't be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _keep_origin(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    made = validate(value)
    if isinstance(value, AwsText):
        return AwsSecret(value)
    return FileSecret(made.get_secret_value(), value.path) if isinstance(value, FileText) else made


Secret = Annotated[SecretStr, WrapValidator(_keep_origin)]
