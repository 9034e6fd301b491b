"""What the settings' models are made of: frozen, no unknown keys; sizes, and YAML's words for yes and no."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Frozen(BaseModel):
    """A part of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_SIZE = re.compile(r"(\d+) *(B|KiB|MiB|GiB)?")
_FACTORS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(value: Any) -> Any:
    """Bytes as a number, or as `64 MiB`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _FACTORS[match[2]]
    return value


def boolean(value: Any) -> Any:
    """YAML's words for true and false; anything else is left for the type to refuse."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


Boolean = Annotated[bool, BeforeValidator(boolean)]
OnlyTrue = Annotated[Literal[True], BeforeValidator(boolean)]
OnlyFalse = Annotated[Literal[False], BeforeValidator(boolean)]
Size = Annotated[int, BeforeValidator(size)]
