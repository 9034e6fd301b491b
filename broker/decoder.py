"""Decoding requests into kio's entities, with every size checked before memory is taken.

kio's own (native) reader takes the room for an array before it has seen the elements: one request with a large count
ends the process. So the schemas are kio's, but the walk over hostile bytes is ours.
"""

from __future__ import annotations

import functools
import struct
import uuid
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kio.schema.errors import ErrorCode
from kio.serial._implicit_defaults import get_tagged_field_default

from broker.errors import CloseConnection
from broker.protocol import read_uvarint, unwrap

MAX_ELEMENTS = 1_000_000  # over all arrays of a request; Kafka's largest legal requests stay far below
MAX_TAGS = 100  # per structure; clients send a handful

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = {
    "int8": struct.Struct(">b"),
    "int16": struct.Struct(">h"),
    "int32": struct.Struct(">i"),
    "int64": struct.Struct(">q"),
    "uint8": struct.Struct(">B"),
    "uint16": struct.Struct(">H"),
    "uint32": struct.Struct(">I"),
    "uint64": struct.Struct(">Q"),
    "float64": struct.Struct(">d"),
}
_INT16, _INT32, _INT64 = _NUMBERS["int16"], _NUMBERS["int32"], _NUMBERS["int64"]


class Cursor:
    """Where the walk is in a frame, and how many array elements it may still make."""

    __slots__ = ("at", "data", "elements_left")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.elements_left = MAX_ELEMENTS

    def take(self, length: int) -> bytes:
        """The next bytes. Raises CloseConnection when there are fewer."""
        end = self.at + length
        if length < 0 or end > len(self.data):
            raise CloseConnection("a field runs past the end of the request")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def unpack(self, number: struct.Struct) -> Any:
        try:
            (value,) = number.unpack_from(self.data, self.at)
        except struct.error:
            raise CloseConnection("the request is cut short") from None
        self.at += number.size
        return value

    def uvarint(self) -> int:
        value, self.at = read_uvarint(self.data, self.at)
        return value


Read = Callable[[Cursor], Any]


def decode_request(entity_type: Any, frame: bytes, offset: int) -> Any:
    """The request entity at `offset`; bytes behind it are ignored, as Kafka does.

    Raises CloseConnection for bytes that don't fit its schema or our bounds.
    """
    cursor = Cursor(frame, offset)
    return _entity_reader(entity_type)(cursor)


@functools.cache
def _entity_reader(entity_type: Any) -> Read:
    flexible = bool(entity_type.__flexible__)
    plain: list[tuple[str, Read]] = []
    tagged: dict[int, tuple[str, Read]] = {}
    defaults: dict[str, Any] = {}
    for field in fields(entity_type):
        tag = field.metadata.get("tag")
        read = _field_reader(field, flexible, tag is not None)
        if tag is None:
            plain.append((field.name, read))
        else:
            tagged[tag] = field.name, read
            defaults[field.name] = get_tagged_field_default(field) if field.default is MISSING else field.default

    def read_entity(cursor: Cursor) -> Any:
        values = {name: read(cursor) for name, read in plain}
        if flexible:
            values |= defaults
            _read_tags(cursor, tagged, values)
        return entity_type(**values)

    return read_entity


def _read_tags(cursor: Cursor, tagged: dict[int, tuple[str, Read]], values: dict[str, Any]) -> None:
    count = cursor.uvarint()
    if count > MAX_TAGS:
        raise CloseConnection(f"{count} tagged fields in one structure")
    for _ in range(count):
        known = tagged.get(cursor.uvarint())
        content = cursor.take(cursor.uvarint())
        if known is not None:
            inner = Cursor(content, 0)
            inner.elements_left = cursor.elements_left
            values[known[0]] = known[1](inner)
            cursor.elements_left = inner.elements_left


def _field_reader(field: Any, flexible: bool, is_tag: bool) -> Read:
    inner: Any
    inner, optional, is_array = unwrap(field.type)
    nullable = optional and not is_tag
    if is_dataclass(inner):
        nested: Any = inner
        element = _entity_reader(nested)
        if not is_array:
            return _nullable_entity(element) if nullable else element
    else:
        element = _primitive_reader(field.metadata["kafka_type"], flexible, nullable and not is_array)
    return _array_reader(element, flexible, nullable) if is_array else element


def _nullable_entity(read: Read) -> Read:
    def read_nullable(cursor: Cursor) -> Any:
        return None if cursor.unpack(_NUMBERS["int8"]) < 0 else read(cursor)

    return read_nullable


def _array_reader(element: Read, flexible: bool, nullable: bool) -> Read:
    def read_array(cursor: Cursor) -> Any:
        count = cursor.uvarint() - 1 if flexible else cursor.unpack(_INT32)
        if count < 0:
            if nullable:
                return None
            raise CloseConnection("null for an array that must be there")
        cursor.elements_left -= count
        if count > len(cursor.data) - cursor.at or cursor.elements_left < 0:
            raise CloseConnection(f"array of {count} elements in {len(cursor.data) - cursor.at} bytes")
        return tuple([element(cursor) for _ in range(count)])

    return read_array


def _primitive_reader(kind: str, flexible: bool, nullable: bool) -> Read:
    if kind in _NUMBERS:
        number = _NUMBERS[kind]
        return lambda cursor: cursor.unpack(number)
    if kind in ("string", "bytes", "records"):
        return _text_reader(kind, flexible, nullable)
    return _OTHERS[kind]


def _text_reader(kind: str, flexible: bool, nullable: bool) -> Read:
    length_of = _INT16 if kind == "string" else _INT32

    def read_text(cursor: Cursor) -> Any:
        length = cursor.uvarint() - 1 if flexible else cursor.unpack(length_of)
        if length < 0:
            if nullable or kind == "records":
                return None
            raise CloseConnection(f"null for a {kind} that must be there")
        content = cursor.take(length)
        if kind != "string":
            return content
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise CloseConnection("a string is not UTF-8") from None

    return read_text


def _read_uuid(cursor: Cursor) -> uuid.UUID | None:
    content = cursor.take(16)
    return uuid.UUID(bytes=content) if any(content) else None


def _read_datetime(cursor: Cursor) -> datetime | None:
    value = cursor.unpack(_INT64)
    if value < 0:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        raise CloseConnection("a point in time beyond the year 9999") from None


def _read_duration(number: struct.Struct) -> Read:
    def read_duration(cursor: Cursor) -> timedelta:
        try:
            return timedelta(milliseconds=cursor.unpack(number))
        except OverflowError:
            raise CloseConnection("a duration that is too long") from None

    return read_duration


def _read_error(cursor: Cursor) -> ErrorCode:
    try:
        return ErrorCode(cursor.unpack(_INT16))
    except ValueError:
        raise CloseConnection("an unknown error code") from None


_OTHERS: dict[str, Read] = {
    "bool": lambda cursor: cursor.take(1) != b"\x00",
    "uuid": _read_uuid,
    "error_code": _read_error,
    "timedelta_i32": _read_duration(_INT32),
    "timedelta_i64": _read_duration(_INT64),
    "datetime_i64": _read_datetime,
}
