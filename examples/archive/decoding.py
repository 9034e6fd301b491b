"""What a topic's values mean. Decoders turn bytes into what their column takes, or raise Undecodable."""

from __future__ import annotations

import io
import json
import re
import struct
from pathlib import Path
from typing import Any, Protocol

import fastavro
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from examples.archive.columns import arrow_type, refuse_unbounded, without_other_logical_types
from examples.archive.errors import SettingsError, Undecodable
from examples.archive.settings import Settings

_CONFLUENT = struct.Struct(">bI")  # magic byte 0, id of the writer's schema


class Decoder(Protocol):
    """One topic's format."""

    column: pa.DataType

    def decode(self, value: bytes) -> Any:
        """What the column takes. Undecodable says why not."""
        ...


class JsonDecoder:
    """Checks that the value is JSON (RFC 8259) in UTF-8, and keeps its text: JSON has no schema to make columns of."""

    column = pa.string()

    def decode(self, value: bytes) -> str:
        try:
            text = value.decode("utf-8")
            json.loads(text, parse_constant=_refuse)
        except UnicodeDecodeError as error:
            raise Undecodable(f"not UTF-8 at byte {error.start}") from None
        except json.JSONDecodeError as error:
            raise Undecodable(f"not JSON at character {error.pos}: {error.msg}") from None
        except RecursionError:
            raise Undecodable("JSON that is nested too deep") from None
        except ValueError as error:  # an integer of thousands of digits
            raise Undecodable(f"not JSON that can be read: {error}") from None
        return text


class AvroDecoder:
    """Confluent's wire format; writers' schemas are files `ID.avsc`, and every value is read as the topic's own schema.

    https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
    """

    def __init__(self, schema_file: Path, writers: Path) -> None:
        self._reader, names = _parse(schema_file)
        try:
            self.column = arrow_type(self._reader, names)
        except SettingsError as error:
            raise SettingsError(f"{schema_file}: {error}") from None
        if not pa.types.is_struct(self.column):
            raise SettingsError(f"{schema_file}: the schema of a topic's values must be a record")
        self._writers = {
            int(file.stem): _parse(file)[0]
            for file in sorted(writers.glob("*.avsc"))
            if re.fullmatch(r"\d+", file.stem)
        }

    def decode(self, value: bytes) -> Any:
        if len(value) < _CONFLUENT.size:
            raise Undecodable(f"{len(value)} bytes are too few for the wire format")
        magic, schema_id = _CONFLUENT.unpack_from(value)
        if magic != 0:
            raise Undecodable(f"begins with byte {magic}, not 0: not in the wire format")
        writer = self._writers.get(schema_id)
        if writer is None:
            raise Undecodable(f"schema {schema_id} is unknown: add {schema_id}.avsc to the folder of schemas")
        stream = io.BytesIO(value)
        stream.seek(_CONFLUENT.size)
        try:
            decoded = fastavro.schemaless_reader(stream, writer, self._reader)
        except Exception as error:  # noqa: BLE001 - fastavro raises whatever damaged bytes lead it to
            raise Undecodable(f"not of schema {schema_id}: {type(error).__name__}") from None
        if stream.tell() != len(value):
            raise Undecodable(f"{len(value) - stream.tell()} bytes more than schema {schema_id} has")
        return decoded


def decoders(settings: Settings) -> dict[str, Decoder]:
    """One for every topic. SettingsError if a schema can't be used."""
    found: dict[str, Decoder] = {}
    for name, topic in settings.topics.items():
        found[name] = AvroDecoder(topic.schema_file, settings.schemas) if topic.schema_file else JsonDecoder()
    return found


def _parse(file: Path) -> tuple[Any, dict[str, Any]]:
    names: dict[str, Any] = {}
    try:
        schema = without_other_logical_types(json.loads(file.read_text()))
        parsed = fastavro.parse_schema(schema, named_schemas=names)
        refuse_unbounded(parsed, names)
    except (OSError, ValueError, KeyError, SchemaParseException, UnknownType, SettingsError) as error:
        raise SettingsError(f"{file}: not a usable Avro schema: {error}") from None
    return parsed, names


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} isn't JSON")
