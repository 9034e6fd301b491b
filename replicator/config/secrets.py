"""Secrets that stand in files: read again when the file is another one, so that a rotated password is used by the next
connection, without a restart and without being told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import SecretStr, ValidatorFunctionWrapHandler, WrapValidator

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


def stamp_of(path: str | Path) -> Stamp | None:
    """What tells whether a file is the same as before; None if it can't be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _keep_file(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    made = validate(value)
    return FileSecret(made.get_secret_value(), value.path) if isinstance(value, FileText) else made


Secret = Annotated[SecretStr, WrapValidator(_keep_file)]
