"""A Kafka client that sends exactly what a test says, and nothing by itself.

It shares no code with the broker or the replicator: `kio` for requests and responses, and a batch builder of its own.

    with RawClient(bootstrap) as client:
        response = client.call("heartbeat", 4, group_id="g", generation_id=1, member_id="m")
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

import crc32c
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map
from kio.serial import entity_reader, entity_writer

KEYS = {name: key for key, name in api_key_map.items()}
GROUP, TRANSACTION = 0, 1
RETRIABLE_SETUP = {
    ErrorCode.coordinator_not_available,
    ErrorCode.coordinator_load_in_progress,
    ErrorCode.not_coordinator,
}


class Closed(Exception):
    """The broker closed the connection instead of answering."""


class RawClient:
    """One connection, from the address `source` if it is given. `timeout` bounds every answer in seconds."""

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "raw",
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
        source: str = "",
    ) -> None:
        host, port = bootstrap.split(",")[0].rsplit(":", 1)
        self._socket: socket.socket = socket.create_connection((host, int(port)), timeout, (source, 0))
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._client_id = client_id
        self._correlation = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def log_in(self, user: str, password: str) -> None:
        """SASL PLAIN; it must be accepted."""
        assert self.call("sasl_handshake", 1, mechanism="PLAIN").error_code == ErrorCode.none
        answer = self.call("sasl_authenticate", 2, auth_bytes=f"\0{user}\0{password}".encode())
        assert answer.error_code == ErrorCode.none, answer

    def call(self, api: str, version: int, /, **values: Any) -> Any:
        """Send the request and return the response entity. `api` is kio's name, such as "join_group"."""
        self.send(api, version, **values)
        return self.receive(api, version)

    def send(self, api: str, version: int, /, **values: Any) -> None:
        """Send without waiting; answers come in the order of the requests."""
        schema = load_request_schema(KEYS[api], version)
        buffer = io.BytesIO()
        entity_writer(schema)(buffer, make(schema, values))
        self.send_body(KEYS[api], version, buffer.getvalue(), flexible=schema.__flexible__)

    def send_body(self, key: int, version: int, body: bytes, *, flexible: bool) -> None:
        """Send any bytes behind a request header of version 1 or (flexible) 2."""
        self._correlation += 1
        name = self._client_id.encode()
        header = struct.pack(">hhih", key, version, self._correlation, len(name)) + name
        self.send_frame(header + (b"\x00" if flexible else b"") + body)

    def send_frame(self, frame: bytes) -> None:
        """Send any bytes as one frame."""
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)

    def receive(self, api: str, version: int) -> Any:
        """The next answer, taken as one of this API and version. Raises Closed."""
        frame = self.receive_frame()
        schema = load_response_schema(KEYS[api], version)
        offset = 4
        if schema.__flexible__ and api != "api_versions":
            assert frame[4] == 0, "tagged fields in a response header"
            offset = 5
        entity, size = entity_reader(schema)(frame, offset)
        assert offset + size == len(frame), f"{len(frame) - offset - size} bytes are left over in {api} v{version}"
        return entity

    def readable(self, timeout: float) -> bool:
        """Whether an answer (or the end of the connection) arrives within `timeout` seconds."""
        return bool(select.select([self._socket], [], [], timeout)[0])

    def receive_frame(self) -> bytes:
        """The next frame, correlation id included. Raises Closed."""
        (size,) = struct.unpack(">i", self._receive_exactly(4))
        return self._receive_exactly(size)

    def _receive_exactly(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            try:
                chunk = self._socket.recv(size - len(out))
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                chunk = b""
            if not chunk:
                raise Closed("connection closed by the broker")
            out += chunk
        return bytes(out)


def coordinator(bootstrap: str, key: str, kind: int = GROUP, *, timeout: float = 30.0) -> RawClient:
    """A connection to the coordinator of a group or transactional id, which exists and is ready."""
    deadline = time.monotonic() + timeout
    with RawClient(bootstrap) as client:
        while True:
            found = client.call("find_coordinator", 4, key_type=kind, coordinator_keys=[key]).coordinators[0]
            if found.error_code == ErrorCode.none:
                return RawClient(f"{found.host}:{found.port}")
            assert found.error_code in RETRIABLE_SETUP, found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


def retry(call: Callable[[], Any], code: Callable[[Any], int], codes: Iterable[int], *, timeout: float = 20.0) -> Any:
    """Call until the answer's code is none of `codes`."""
    deadline = time.monotonic() + timeout
    unwanted = set(codes)
    while True:
        answer = call()
        if code(answer) not in unwanted or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def make(schema: type[Any], values: Mapping[str, Any]) -> Any:
    """A kio entity from plain values: dicts for nested entities, ints for durations (ms) and points in time."""
    made = {}
    for field in fields(schema):
        if field.name in values:
            made[field.name] = _convert(field.type, field.metadata.get("kafka_type"), values[field.name])
        elif field.default is MISSING:
            made[field.name] = _zero(field.type, field.metadata.get("kafka_type"))
    unknown = set(values) - {field.name for field in fields(schema)}
    if unknown:
        raise TypeError(f"{schema.__name__} v{schema.__version__} has no {sorted(unknown)}")
    return schema(**made)


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) in (UnionType, Union):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


def _convert(annotation: Any, kind: str | None, value: Any) -> Any:
    bare = _bare(annotation)
    if value is None:
        return None
    if get_origin(bare) is tuple:
        return tuple(_convert(get_args(bare)[0], kind, item) for item in value)
    if is_dataclass(bare):
        return make(bare, value) if isinstance(value, Mapping) else value  # type: ignore[arg-type]
    if kind in ("timedelta_i32", "timedelta_i64") and isinstance(value, int):
        return timedelta(milliseconds=value)
    if kind == "datetime_i64" and isinstance(value, int):
        return datetime.fromtimestamp(value / 1000, UTC)
    if kind == "error_code":
        return ErrorCode(value)
    return value


def _zero(annotation: Any, kind: str | None) -> Any:
    if get_origin(annotation) in (UnionType, Union):
        return None
    if get_origin(annotation) is tuple:
        return ()
    if is_dataclass(annotation):
        return make(annotation, {})  # type: ignore[arg-type]
    zeroes = {"string": "", "bytes": b"", "bool": False, "error_code": ErrorCode.none, "float64": 0.0}
    if kind in ("timedelta_i32", "timedelta_i64"):
        return timedelta(0)
    if kind == "uuid":
        return None
    return zeroes.get(kind or "", 0)


# --- record batches ------------------------------------------------------------------------------------------------

TRANSACTIONAL, CONTROL, LOG_APPEND_TIME = 0x10, 0x20, 0x08
_HEADER = struct.Struct(">qiibIhiqqqhii")


def varint(value: int) -> bytes:
    """Zigzag varint."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def record(index: int, value: bytes | None, key: bytes | None = None, timestamp_delta: int = 0) -> bytes:
    """One record without headers."""
    body = b"\x00" + varint(timestamp_delta) + varint(index)
    for item in (key, value):
        body += varint(-1) if item is None else varint(len(item)) + item
    body += varint(0)
    return varint(len(body)) + body


def batch(
    values: Sequence[bytes | tuple[bytes | None, bytes | None] | None],
    *,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    attributes: int = 0,
    timestamp: int | None = None,
    base_offset: int = 0,
    magic: int = 2,
    last_offset_delta: int | None = None,
    count: int | None = None,
    payload: bytes | None = None,
    crc: int | None = None,
) -> bytes:
    """A batch of values, or `(key, value)` pairs. Everything else can be said wrongly, too."""
    now = round(time.time() * 1000) if timestamp is None else timestamp
    if payload is None:
        payload = b""
        for index, item in enumerate(values):
            key, value = item if isinstance(item, tuple) else (None, item)
            payload += record(index, value, key)
    out = bytearray(
        _HEADER.pack(
            base_offset,
            _HEADER.size - 12 + len(payload),
            -1,
            magic,
            0,
            attributes,
            len(values) - 1 if last_offset_delta is None else last_offset_delta,
            now,
            now,
            producer_id,
            epoch,
            sequence,
            len(values) if count is None else count,
        )
        + payload
    )
    struct.pack_into(">I", out, 17, crc32c.crc32c(bytes(out[21:])) if crc is None else crc)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it was read, its records as `(offset, key, value)`."""

    base_offset: int
    attributes: int
    producer_id: int
    epoch: int
    sequence: int
    last_offset: int
    leader_epoch: int
    base_timestamp: int
    max_timestamp: int
    count: int
    records: tuple[tuple[int, bytes | None, bytes | None], ...]

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def marker(self) -> str:
        """What a control batch says: "commit" or "abort"."""
        key = self.records[0][1]
        assert key is not None
        return {0: "abort", 1: "commit"}[struct.unpack(">hh", key)[1]]


def read_batches(data: bytes | None) -> list[Batch]:
    """Decode uncompressed batches; one that was cut off at the end is left out."""
    data = bytes(data or b"")
    out = []
    position = 0
    while position + _HEADER.size <= len(data):
        head = _HEADER.unpack_from(data, position)
        end = position + 12 + head[1]
        if end > len(data):
            break
        assert crc32c.crc32c(data[position + 21 : end]) == head[4], "checksum of a fetched batch"
        out.append(
            Batch(
                head[0],
                head[5],
                head[9],
                head[10],
                head[11],
                head[0] + head[6],
                head[2],
                head[7],
                head[8],
                head[12],
                tuple(_records(data[position + _HEADER.size : end], head[12], head[0])) if not head[5] & 7 else (),
            )
        )
        position = end
    return out


def _records(data: bytes, count: int, base: int) -> Iterable[tuple[int, bytes | None, bytes | None]]:
    position = 0

    def number() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def content() -> bytes | None:
        nonlocal position
        size = number()
        if size < 0:
            return None
        position += size
        return data[position - size : position]

    for _ in range(count):
        size = number()
        end = position + size
        position += 1
        number()
        offset = base + number()
        yield offset, content(), content()
        position = end
