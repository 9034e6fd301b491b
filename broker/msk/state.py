"""What the control plane knows, on disk: one JSON file for each thing, written whole or not at all.

    clusters = StateStore(directory).collection("clusters", ClusterRecord)
    clusters.put(key, record)

A record is on disk when `put` returns: it is written beside, synced, and put in place by a rename.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


class StateError(Exception):
    """A file of the state can't be read: names it. Nothing is left out silently."""


class StateStore:
    """A directory of collections, readable by its owner alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collection(self, name: str, model: type[M]) -> Collection[M]:
        """The collection of that name, read from disk. Raises StateError naming a file that can't be read."""
        return Collection(self._directory / name, model)


class Collection(Generic[M]):
    """Records by key. Keys are file names: what `new_uuid` gives."""

    def __init__(self, directory: Path, model: type[M]) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._records: dict[str, M] = {}
        for path in sorted(directory.glob("*.json")):
            try:
                self._records[path.stem] = model.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                raise StateError(f"{path} can't be read: {error}. Put it right, or move it away.") from error
        for leftover in directory.glob("*.tmp"):
            leftover.unlink()

    def get(self, key: str) -> M | None:
        """The record, or None."""
        return self._records.get(key)

    def put(self, key: str, record: M) -> None:
        """Keep a record. Raises OSError, and then nothing has changed."""
        if not key or "/" in key or key.startswith("."):
            raise ValueError(f"not a key: {key!r}")
        write_atomically(self._directory / f"{key}.json", record.model_dump_json(indent=1).encode())
        self._records[key] = record

    def delete(self, key: str) -> None:
        """Forget a record; nothing happens when there is none."""
        with contextlib.suppress(FileNotFoundError):
            (self._directory / f"{key}.json").unlink()
        self._records.pop(key, None)

    def __iter__(self) -> Iterator[M]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is there whole or not at all, even when the machine stops half-way. Raises OSError."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
