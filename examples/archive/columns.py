"""Avro's types as Arrow's, and what of Avro a table can't hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from examples.archive.errors import SettingsError

_PRIMITIVES = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
}


def without_other_logical_types(schema: Any) -> Any:
    """The schema (as JSON) without those logical types that aren't turned into columns of their own, such as uuid."""
    if isinstance(schema, list):
        return [without_other_logical_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: without_other_logical_types(value) if key in _NESTED else value for key, value in schema.items()}
    kind, logical = schema.get("type"), schema.get("logicalType")
    if not (logical == "decimal" or (isinstance(kind, str) and (kind, logical) in _LOGICAL)):
        kept.pop("logicalType", None)
    return kept


_NESTED = ("type", "items", "values", "fields")


def arrow_type(schema: Any, names: Mapping[str, Any], within: tuple[str, ...] = ()) -> pa.DataType:
    """The Arrow type of a parsed Avro schema; `names` are its named schemas.

    SettingsError for schemas that a table can't hold: those that contain themselves, and unions of several types.
    """
    if isinstance(schema, list):
        others = [branch for branch in schema if branch != "null"]
        if len(others) != 1:
            raise SettingsError(f"a union of {len(others)} types can't be one column; only [null, T] can")
        return arrow_type(others[0], names, within)
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return _PRIMITIVES[schema]
        if schema in within:
            raise SettingsError(f"{schema} contains itself, which a table can't hold")
        return arrow_type(names[schema], names, within)
    kind = schema["type"]
    match kind:
        case "record":
            within = (*within, schema["name"])
            return pa.struct([(field["name"], arrow_type(field["type"], names, within)) for field in schema["fields"]])
        case "array":
            return pa.list_(arrow_type(schema["items"], names, within))
        case "map":
            return pa.map_(pa.string(), arrow_type(schema["values"], names, within))
        case "enum":
            return pa.string()
        case "fixed" | "bytes" if schema.get("logicalType") == "decimal":
            return pa.decimal128(schema["precision"], schema.get("scale", 0))
        case "fixed":
            return pa.binary(schema["size"])
    if not isinstance(kind, str):
        return arrow_type(kind, names, within)
    return _LOGICAL.get((kind, schema.get("logicalType"))) or arrow_type(kind, names, within)


def refuse_unbounded(schema: Any, names: Mapping[str, Any], within: tuple[str, ...] = ()) -> None:
    """SettingsError for schemas of which a few bytes can be more than the process has.

    That is an array whose items take no bytes (ten bytes could claim to have 2^60 of them), and what contains itself
    (fastavro's compiled reader has no limit on depth).
    """
    if isinstance(schema, list):
        for branch in schema:
            refuse_unbounded(branch, names, within)
    elif isinstance(schema, str):
        if schema in within:
            raise SettingsError(f"{schema} contains itself, and can't be read within bounds")
        if schema in names:
            refuse_unbounded(names[schema], names, within)
    else:
        if schema["type"] == "array" and _may_be_empty(schema["items"], names):
            raise SettingsError("an array whose items take no bytes can't be read within bounds")
        within = (*within, schema["name"]) if "name" in schema else within
        for inner in (schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))):
            if inner is not None:
                refuse_unbounded(inner, names, within)


def _may_be_empty(schema: Any, names: Mapping[str, Any], within: tuple[str, ...] = ()) -> bool:
    if isinstance(schema, list):
        return False  # the branch's number is a byte at least
    if isinstance(schema, str):
        if schema in names and schema not in within:
            return _may_be_empty(names[schema], names, (*within, schema))
        return schema == "null"
    if schema["type"] == "record":
        return all(_may_be_empty(field["type"], names, (*within, schema["name"])) for field in schema["fields"])
    return bool(schema["type"] == "null" or (schema["type"] == "fixed" and schema["size"] == 0))
