"""What the user writes: one YAML file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from examples.archive.errors import SettingsError

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_FILE_LIMIT = 1 << 20


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Topic(_Frozen):
    """How values are decoded: `json`, or `avro` in Confluent's wire format with the columns of `schema_file`."""

    format: Literal["json", "avro"]
    schema_file: Path | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> Topic:
        if (self.format == "avro") != (self.schema_file is not None):
            raise ValueError("format avro needs schema_file, the schema that the columns are made of; json takes none")
        return self


class Bucket(_Frozen):
    """Where objects go. Credentials and region are found by boto3's own chain."""

    bucket: str
    prefix: str = "archive"
    endpoint_url: str | None = None  # of what speaks S3's protocol elsewhere


class Objects(_Frozen):
    """When an object is complete: whichever comes first. Larger objects are fewer and are read faster."""

    max_records: int = Field(default=50_000, ge=1, le=1_000_000)
    max_bytes: int = Field(default=16 << 20, ge=1 << 10, le=256 << 20)
    max_seconds: float = Field(default=60, gt=0, le=86_400)  # how far the archive may be behind when little comes


class Settings(_Frozen):
    """The whole file. `kafka` are librdkafka's own settings; `${NAME}` in any text is taken from the environment."""

    kafka: dict[str, str]
    group: str = "archive"
    topics: dict[str, Topic] = Field(min_length=1)
    schemas: Path = Path("schemas")  # writers' schemas, as ID.avsc
    store: Bucket
    objects: Objects = Objects()
    memory_bytes: int = Field(default=128 << 20, ge=1 << 20)  # of all objects that are being filled
    on_gap: Literal["stop", "continue"] = "stop"
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)  # Prometheus, on loopback

    @classmethod
    def load(cls, file: Path) -> Settings:
        """Read the file; paths in it are relative to it. SettingsError says what is wrong with it."""
        try:
            with file.open("rb") as stream:
                data = stream.read(_FILE_LIMIT + 1)
            if len(data) > _FILE_LIMIT:
                raise SettingsError(f"{file}: larger than {_FILE_LIMIT} bytes")
            settings = cls.model_validate(yaml.safe_load(_VARIABLE.sub(_from_environment, data.decode())))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            raise SettingsError(f"{file}: {error}") from None
        topics = {
            name: topic.model_copy(update={"schema_file": file.parent / topic.schema_file})
            if topic.schema_file
            else topic
            for name, topic in settings.topics.items()
        }
        return settings.model_copy(update={"topics": topics, "schemas": file.parent / settings.schemas})


def _from_environment(match: re.Match[str]) -> str:
    try:
        return os.environ[match[1]]
    except KeyError:
        raise SettingsError(f"${{{match[1]}}} isn't set in the environment") from None
