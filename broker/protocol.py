"""Glue to `kio`: frames in, entities out, and the other way round.

Record batches never pass through here as records: they stay bytes.
`build` makes response entities of whichever version was asked for out of plain keyword arguments and dicts.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Any, Union, get_args, get_origin

from kio.index import load_payload_module, load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map, schema_name_map
from kio.serial import entity_writer

from broker.errors import CloseConnection

API_VERSIONS_KEY = 18
MAX_HEADER_TAGGED_FIELDS = 16  # Kafka's clients send none; a flood of empty ones must not cost us memory

_HEADER = struct.Struct(">hhih")
_ERRORS: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """Request header v1/v2 and where the body starts in the frame."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_offset: int


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A body that the handler has encoded itself: buffers to be written one after the other."""

    parts: Sequence[bytes | bytearray | memoryview]


def peek_api(frame: bytes) -> tuple[int, int]:
    """API key and version of a request frame (without its length prefix)."""
    if len(frame) < _HEADER.size:
        raise CloseConnection("request is shorter than a request header")
    key, version, _, _ = _HEADER.unpack_from(frame)
    return key, version


def read_header(frame: bytes, flexible: bool) -> RequestHeader:
    """Decode the header; `flexible` is whether the API's version uses header v2.

    Raises CloseConnection when it is cut short or carries an unreasonable number of tagged fields.
    """
    key, version, correlation_id, length = _HEADER.unpack_from(frame)
    offset = _HEADER.size
    client_id = None
    if length >= 0:
        end = offset + length
        if end > len(frame):
            raise CloseConnection("client id runs past the end of the request")
        try:
            client_id = frame[offset:end].decode()
        except UnicodeDecodeError as error:
            raise CloseConnection("client id is not UTF-8") from error
        offset = end
    if flexible:
        count, offset = read_uvarint(frame, offset)
        if count > MAX_HEADER_TAGGED_FIELDS:
            raise CloseConnection(f"{count} tagged fields in a request header")
        for _ in range(count):
            _, offset = read_uvarint(frame, offset)
            size, offset = read_uvarint(frame, offset)
            offset += size
        if offset > len(frame):
            raise CloseConnection("tagged fields run past the end of the request")
    return RequestHeader(key, version, correlation_id, client_id, offset)


def read_uvarint(data: bytes | memoryview, offset: int) -> tuple[int, int]:
    """An unsigned varint of at most five bytes and the offset behind it."""
    value = shift = 0
    while shift < 35:
        if offset >= len(data):
            raise CloseConnection("request ends inside a varint")
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
    raise CloseConnection("varint is longer than five bytes")


def uvarint(value: int) -> bytes:
    """`value` as an unsigned varint."""
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@functools.cache
def request_is_flexible(api_key: int, version: int) -> bool:
    """Whether this version of the request uses compact encodings and header v2."""
    return bool(load_request_schema(api_key, version).__flexible__)


@functools.cache
def response_is_flexible(api_key: int, version: int) -> bool:
    """Whether this version of the response uses header v1; ApiVersions never does."""
    return api_key != API_VERSIONS_KEY and bool(load_response_schema(api_key, version).__flexible__)


def encode_entity(entity: Any) -> bytes:
    """The bytes of any kio entity."""
    buffer = io.BytesIO()
    entity_writer(type(entity))(buffer, entity)
    return buffer.getvalue()


def response_parts(
    api_key: int, version: int, correlation_id: int, response: Any
) -> list[bytes | bytearray | memoryview]:
    """A whole response frame, length prefix included, as buffers to be written one after the other."""
    body = list(response.parts) if isinstance(response, RawResponse) else [encode_entity(response)]
    tags = b"\x00" if response_is_flexible(api_key, version) else b""
    size = 4 + len(tags) + sum(len(part) for part in body)
    return [struct.pack(">ii", size, correlation_id) + tags, *body]


def response_type(request: Any) -> type[Any]:
    """The response entity class that answers `request`, of the same version."""
    return load_response_schema(request.__api_key__, request.__version__)


def error_code(value: int) -> ErrorCode:
    """The kio error of a number."""
    return _ERRORS[value]


def milliseconds(value: timedelta | int) -> int:
    """kio's durations as milliseconds."""
    return value if isinstance(value, int) else round(value.total_seconds() * 1000)


def entity(entity_type: Any, values: Mapping[str, Any]) -> Any:
    """An instance of a kio entity class from plain values.

    Nested entities may be dicts, arrays any iterable, error codes and durations (ms) ints, points in time ms or -1.
    Fields that this version lacks are dropped, missing ones get Kafka's default (or zero, empty, null).
    Raises TypeError for a name that no version of the message has.
    """
    made = {
        name: convert(values[name]) if name in values and (values[name] is not None or not required) else default
        for name, convert, default, required in _plan(entity_type)
    }
    if len(values) != len(made) or not made.keys() >= values.keys():
        unknown = values.keys() - made.keys() - _known_names(entity_type)
        if unknown:
            raise TypeError(f"{entity_type.__name__} has no field {', '.join(sorted(unknown))} in any version")
    return entity_type(**made)


def _identity(value: Any) -> Any:
    return value


def _to_error(value: Any) -> ErrorCode:
    return value if isinstance(value, ErrorCode) else _ERRORS[int(value)]


def _to_timedelta(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(milliseconds=value)


def _to_datetime(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return None if value < 0 else _EPOCH + timedelta(milliseconds=value)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "error_code": _to_error,
    "timedelta_i32": _to_timedelta,
    "timedelta_i64": _to_timedelta,
    "datetime_i64": _to_datetime,
}
_ZEROES: dict[str, Any] = {
    "error_code": ErrorCode.none,
    "timedelta_i32": timedelta(0),
    "timedelta_i64": timedelta(0),
    "datetime_i64": _EPOCH,
    "string": "",
    "bytes": b"",
    "bool": False,
    "float64": 0.0,
    "uuid": None,
    "records": None,
}


@functools.cache
def _plan(entity_type: Any) -> tuple[tuple[str, Callable[[Any], Any], Any, bool], ...]:
    return tuple(_field_plan(field) for field in fields(entity_type))


def _field_plan(field: Any) -> tuple[str, Callable[[Any], Any], Any, bool]:
    inner, optional, is_array = unwrap(field.type)
    default: Any = field.default
    zero: Any
    if is_dataclass(inner):
        nested: type[Any] = inner  # type: ignore[assignment]

        def convert_nested(value: Any) -> Any:
            return entity(nested, value) if isinstance(value, Mapping) else value

        convert: Callable[[Any], Any] = convert_nested
        zero = None if optional else MISSING
    else:
        kafka_type = field.metadata["kafka_type"]
        convert = _CONVERTERS.get(kafka_type, _identity)
        zero = None if optional else _ZEROES.get(kafka_type, 0)
    if is_array:
        item = convert

        def convert_array(values: Any) -> tuple[Any, ...]:
            return tuple(values) if item is _identity else tuple(item(value) for value in values)

        convert = convert_array
        zero = None if optional else ()
    if optional:
        inner_convert = convert

        def convert_optional(value: Any) -> Any:
            return None if value is None else inner_convert(value)

        convert = convert_optional
    if default is MISSING:
        default = zero if zero is not MISSING else entity(inner, {})
    return field.name, convert, default, not optional


def unwrap(annotation: Any) -> tuple[Any, bool, bool]:
    """(element type, may be null, is an array) of a kio field's annotation."""
    optional = is_array = False
    if get_origin(annotation) in (UnionType, Union):
        optional = True
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    if get_origin(annotation) is tuple:
        is_array = True
        annotation = get_args(annotation)[0]
        if get_origin(annotation) in (UnionType, Union):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation, optional, is_array


@functools.cache
def _known_names(entity_type: Any) -> frozenset[str]:
    """Field names of this entity over all versions of its API."""
    names: set[str] = set()
    name = api_key_map[entity_type.__api_key__]
    for version, kinds in schema_name_map[name].items():
        for kind in kinds:
            module = load_payload_module(entity_type.__api_key__, version, kind)  # type: ignore[arg-type]
            other = getattr(module, entity_type.__name__, None)
            if other is not None and is_dataclass(other):
                names.update(field.name for field in fields(other))
    return frozenset(names)
