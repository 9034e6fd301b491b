"""The few file operations that storage needs, in memory or on disk.

`FaultyFiles` wraps either and makes writes and syncs fail, or tears a write in the middle, as disks do.
"""

from __future__ import annotations

import errno
import fcntl
import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class File(Protocol):
    """An append-only file. Offsets and sizes are bytes."""

    @property
    def size(self) -> int: ...

    def append(self, parts: Sequence[Buffer]) -> None:
        """Write all parts at the end; raises OSError when not all of it could be written."""

    def read(self, position: int, length: int) -> list[Buffer]:
        """Up to `length` bytes from `position`, without copying where that is possible."""

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Files(Protocol):
    """A flat or nested tree of files; names are relative paths with forward slashes."""

    def open(self, name: str) -> File:
        """Open for reading and appending; made when missing."""

    def names(self, directory: str) -> list[str]:
        """The files directly in a directory, sorted; empty when it isn't there."""

    def delete(self, name: str) -> None:
        """Delete a file; no error when it isn't there."""

    def delete_directory(self, directory: str) -> None:
        """Delete a directory and the files directly in it."""

    def replace(self, old: str, new: str) -> None:
        """Rename, replacing `new` in one step."""

    def read_all(self, name: str) -> bytes | None:
        """A small file's content, or None when it isn't there."""

    def write_all(self, name: str, content: bytes, *, sync: bool = True) -> None:
        """Replace a small file's content in one step; without `sync` a power failure may undo it."""


class MemoryFile:
    """Keeps what was appended as the chunks it was appended in, so that reads need no copy."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._starts = array("q")
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def append(self, parts: Sequence[Buffer]) -> None:
        chunk = b"".join(parts)
        if chunk:
            self._chunks.append(chunk)
            self._starts.append(self._size)
            self._size += len(chunk)

    def read(self, position: int, length: int) -> list[Buffer]:
        end = min(position + length, self._size)
        out: list[Buffer] = []
        index = bisect_right(self._starts, position) - 1
        while position < end:
            chunk, start = self._chunks[index], self._starts[index]
            stop = min(end - start, len(chunk))
            first = position - start
            out.append(chunk if first == 0 and stop == len(chunk) else memoryview(chunk)[first:stop])
            position = start + stop
            index += 1
        return out

    def truncate(self, size: int) -> None:
        while self._chunks and self._starts[-1] >= size:
            self._chunks.pop()
            self._starts.pop()
        if self._chunks:
            self._chunks[-1] = self._chunks[-1][: size - self._starts[-1]]
        self._size = min(size, self._size)

    def sync(self) -> None:
        """Memory has nothing to sync."""

    def close(self) -> None:
        """Memory has nothing to close."""


class MemoryFiles:
    """A tree of files that is gone with the process."""

    def __init__(self) -> None:
        self._directories: dict[str, dict[str, MemoryFile]] = {}

    def _place(self, path: str) -> tuple[dict[str, MemoryFile], str]:
        directory, _, name = path.rpartition("/")
        return self._directories.setdefault(directory, {}), name

    def open(self, name: str) -> File:
        files, last = self._place(name)
        return files.setdefault(last, MemoryFile())

    def names(self, directory: str) -> list[str]:
        return sorted(self._directories.get(directory, ()))

    def delete(self, name: str) -> None:
        files, last = self._place(name)
        files.pop(last, None)

    def delete_directory(self, directory: str) -> None:
        self._directories.pop(directory, None)

    def replace(self, old: str, new: str) -> None:
        files, last = self._place(old)
        moved = files.pop(last)
        files, last = self._place(new)
        files[last] = moved

    def read_all(self, name: str) -> bytes | None:
        files, last = self._place(name)
        found = files.get(last)
        return None if found is None else b"".join(found.read(0, found.size))

    def write_all(self, name: str, content: bytes, *, sync: bool = True) -> None:
        file = MemoryFile()
        file.append([content])
        files, last = self._place(name)
        files[last] = file


class DiskFile:
    """A file descriptor; reads go through the page cache."""

    def __init__(self, path: Path) -> None:
        self._dirty = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        return self._size

    def append(self, parts: Sequence[Buffer]) -> None:
        total = sum(len(part) for part in parts)
        self._dirty = True
        written = os.writev(self._fd, parts)
        self._size += written
        if written < total:
            rest = b"".join(parts)[written:]
            while rest:
                written = os.write(self._fd, rest)
                self._size += written
                rest = rest[written:]

    def read(self, position: int, length: int) -> list[Buffer]:
        return [os.pread(self._fd, length, position)]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._size = size

    def sync(self) -> None:
        if self._dirty:
            os.fsync(self._fd)
            self._dirty = False

    def close(self) -> None:
        os.close(self._fd)


class DiskFiles:
    """Files below a directory, which is made when missing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def open(self, name: str) -> File:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return DiskFile(path)

    def names(self, directory: str) -> list[str]:
        path = self._root / directory
        return sorted(entry.name for entry in path.iterdir() if entry.is_file()) if path.is_dir() else []

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def delete_directory(self, directory: str) -> None:
        for name in self.names(directory):
            self.delete(f"{directory}/{name}")
        path = self._root / directory
        if path.is_dir():
            path.rmdir()

    def replace(self, old: str, new: str) -> None:
        os.replace(self._root / old, self._root / new)

    def read_all(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write_all(self, name: str, content: bytes, *, sync: bool = True) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        with temporary.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)


class DirectoryLock:
    """Keeps a second process out of a data directory. Raises BlockingIOError when another one has it.

    The operating system frees it when the process dies, however it dies.
    """

    def __init__(self, root: Path) -> None:
        self._file = (root / ".lock").open("wb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise BlockingIOError(error.errno, f"{root} is in use by another broker") from error

    def release(self) -> None:
        self._file.close()


class FaultyFiles:
    """Another tree whose appends and syncs fail on request.

    `fail_appends` with `keep_bytes` set leaves that many bytes of the failing append behind: a torn write.
    """

    def __init__(self, inner: Files) -> None:
        self._inner = inner
        self.fail_appends: int = 0
        self.fail_syncs: int = 0
        self.keep_bytes: int = 0
        self.error = errno.ENOSPC
        self.hits = 0

    def open(self, name: str) -> File:
        return _FaultyFile(self, self._inner.open(name))

    def names(self, directory: str) -> list[str]:
        return self._inner.names(directory)

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def delete_directory(self, directory: str) -> None:
        self._inner.delete_directory(directory)

    def replace(self, old: str, new: str) -> None:
        self._inner.replace(old, new)

    def read_all(self, name: str) -> bytes | None:
        return self._inner.read_all(name)

    def write_all(self, name: str, content: bytes, *, sync: bool = True) -> None:
        self._inner.write_all(name, content, sync=sync)


class _FaultyFile:
    def __init__(self, faults: FaultyFiles, inner: File) -> None:
        self._faults = faults
        self._inner = inner

    @property
    def size(self) -> int:
        return self._inner.size

    def append(self, parts: Sequence[Buffer]) -> None:
        if self._faults.fail_appends > 0:
            self._faults.fail_appends -= 1
            self._faults.hits += 1
            self._inner.append([b"".join(parts)[: self._faults.keep_bytes]])
            raise OSError(self._faults.error, os.strerror(self._faults.error))
        self._inner.append(parts)

    def read(self, position: int, length: int) -> list[Buffer]:
        return self._inner.read(position, length)

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def sync(self) -> None:
        if self._faults.fail_syncs > 0:
            self._faults.fail_syncs -= 1
            self._faults.hits += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()
