"""Java's `.properties` files, as `java.util.Properties.load(InputStream)` reads them: ISO 8859-1, all escapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from replicator.errors import ConfigurationError

MAX_BYTES = 1 << 20
_BLANK = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_HEX = re.compile(r"[0-9A-Fa-f]{4}")
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Property:
    """A key's last value, and the line on which that begins."""

    value: str
    line: int


def parse_properties(data: bytes, file: str) -> dict[str, Property]:
    """The properties by key, in the order of their first appearance; ConfigurationError for what Java refuses."""
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{file}: is larger than {MAX_BYTES >> 20} MiB: not a properties file")
    found: dict[str, Property] = {}
    for line, text in _logical_lines(data.decode("latin-1")):
        key, rest = _split(text)
        try:
            found[_unescape(key)] = Property(_unescape(rest), line)
        except ValueError as error:
            raise ConfigurationError(f"{file}:{line}: {error}") from error
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, text) without comments and blank lines, continuations put together."""
    parts: list[str] = []
    first = 0
    for number, natural in enumerate(_LINE_END.split(text), 1):
        stripped = natural.lstrip(_BLANK)
        if not parts and (not stripped or stripped[0] in "#!"):
            continue
        first = first if parts else number
        backslashes = len(stripped) - len(stripped.rstrip("\\"))
        if backslashes % 2:
            parts.append(stripped[:-1])
            continue
        yield first, "".join([*parts, stripped])
        parts = []
    if parts and "".join(parts):  # the file ends in the middle
        yield first, "".join(parts)


def _split(text: str) -> tuple[str, str]:
    """Key and value, still escaped: the key ends at the first =, : or blank without a backslash before it."""
    at, escaped = 0, False
    while at < len(text) and (escaped or text[at] not in "=:" + _BLANK):
        escaped = text[at] == "\\" and not escaped
        at += 1
    rest = text[at:].lstrip(_BLANK)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANK)
    return text[:at], rest


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char != "\\":
            out.append(char)
            continue
        if at == len(text):
            break
        escape = text[at]
        at += 1
        if escape == "u":
            match = _HEX.match(text, at)
            if match is None:
                raise ValueError("malformed \\uxxxx escape; write four hexadecimal digits, or \\\\u for a backslash")
            out.append(chr(int(match[0], 16)))
            at += 4
        else:
            out.append(_ESCAPES.get(escape, escape))
    return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs of \u make one character
