"""`docs/configuration.md` from the models: every key with its type, its default, and what it does.

`python -m replicator.config.document > docs/configuration.md` after a change of the models.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from replicator.config import fields, models, telemetry

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("clusters.ALIAS", models.ClusterConfig),
    ("clusters.ALIAS.security", models.SecurityConfig),
    ("links[]", models.LinkConfig),
    ("links[].topics", models.TopicsConfig),
    ("links[].groups", models.GroupsConfig),
    ("links[].sync", models.SyncConfig),
    ("links[].drill", models.DrillConfig),
    ("service", models.ServiceConfig),
    ("service.tokens[]", models.TokenConfig),
    ("service.cloudwatch", telemetry.CloudWatchConfig),
    ("service.log_delivery", telemetry.LogDeliveryConfig),
    ("service.log_delivery.log_file", telemetry.LogFileConfig),
    ("service.log_delivery.cloudwatch_logs", telemetry.LogGroupConfig),
    ("service.log_delivery.firehose", telemetry.LogStreamConfig),
    ("service.log_delivery.s3", telemetry.LogBucketConfig),
)

_HEAD = """\
# Configuration
<!-- Written by `python -m replicator.config.document`: change replicator/config/models.py instead. -->

One YAML file says it all; `replicator init` writes one with comments, `replicator check` tries it on the clusters.
Every verb takes it with `-c FILE`, or from the environment variable `REPLICATOR_CONFIG`; without either it is
`replicator.yaml` here. An unknown key is an error, which names file, line and key, and the nearest key that there is.

- `${NAME}` and `${NAME:-default}` are taken from the environment, wherever they stand; `$${` is a literal `${`.
- `{file: path}` is the content of a file, for secrets. A password is read again when its file has changed.
- `{secretsmanager: NAME-OR-ARN, key: KEY}` is a secret of AWS Secrets Manager, or the text under `key` where it is a
  JSON object; without `key`, of a secret such as `{"username": "…", "password": "…"}` the part that the setting is
  called by. A secret that is in use is asked for again once a minute at most. `region` and `profile` say where and as
  whom, if not by AWS's default chain.
- Paths are relative to the configuration's folder.
- Sizes are bytes, or such as `64 MiB`. Times need a date and a zone.
- Regular expressions mean whole names. Single quotes keep backslashes as they are.

SIGHUP and `replicator apply` let running workers read it again. Links that haven't changed go on meanwhile; a link's
`source`, `target` and `lanes` are what it is and can't change; what `service` says counts from the next start.
"""


def document() -> str:
    """The whole page."""
    return _HEAD + "".join(f"\n{_section(path, model)}" for path, model in SECTIONS)


def _section(path: str, model: type[BaseModel]) -> str:
    rows = ["| key | type | default | what it does |", "|---|---|---|---|"]
    texts = descriptions(model)
    for name, field in model.model_fields.items():
        if _is_model(field.annotation):
            rows.append(f"| `{name}` | keys | | Below: [`{path}.{name}`](#{_anchor(f'{path}.{name}')}). |")
        else:
            rows.append(f"| `{name}` | {_type(field)} | {_default(name, field)} | {_cell(texts[name])} |")
    purpose = (inspect.getdoc(model) or "").partition("\n\n")[0]
    return f"## `{path}`\n{purpose}\n\n" + "\n".join(rows) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The texts below a model's keys; LookupError for a key without one. (Pydantic can read them too, at the price
    of parsing the source at each start of the program.)"""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for key, text in zip(body.body, body.body[1:], strict=False):
        match key, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found[name] = inspect.cleandoc(said)
    for name, field in model.model_fields.items():
        if name not in found and not _is_model(field.annotation):
            raise LookupError(f"{model.__name__}.{name} has no text below it: say what it does")
    return found


def _is_model(annotation: Any) -> bool:
    """Whether it is a model, one that may be left out included."""
    parts = [part for part in typing.get_args(annotation) or (annotation,) if part is not types.NoneType]
    return len(parts) == 1 and isinstance(parts[0], type) and issubclass(parts[0], BaseModel)


def _type(field: FieldInfo) -> str:
    least = next((item.ge for item in _metadata(field) if hasattr(item, "ge")), None)
    most = next((item.le for item in _metadata(field) if hasattr(item, "le")), None)
    is_size = any(isinstance(item, BeforeValidator) and item.func is fields.size for item in _metadata(field))
    words = ["size" if is_size else word for word in dict.fromkeys(_words(field.annotation))]
    if least is not None:
        bound = _size(least) if is_size else f"{least:g}"
        words.append(f"{bound} or more" if most is None else f"{bound} to {most:g}")
    return ", ".join(words)


def _metadata(field: FieldInfo) -> Iterator[Any]:
    """What pydantic checks beside the type, also where `| None` stands behind it."""
    yield from field.metadata
    for part in typing.get_args(field.annotation):
        for item in getattr(part, "__metadata__", ()):
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def _words(annotation: Any) -> Iterator[str]:
    """The words for a type, one for each of its alternatives."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        for part in arguments:
            yield from _words(part) if part is not types.NoneType else ()
    elif origin is typing.Literal:
        yield from (f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in arguments)
    elif origin is typing.Annotated:
        yield "time" if annotation is AwareDatetime else next(_words(arguments[0]))
    elif origin is tuple:
        yield "list"
    elif annotation is bool:
        yield from ("`true`", "`false`")
    else:
        names = {str: "text", int: "number", float: "number", SecretStr: "secret"}
        yield names.get(annotation) or ("time" if "datetime" in str(annotation).lower() else annotation.__name__)


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(_cell(f"`{item}`") for item in value)
    if isinstance(value, int) and name.endswith("_bytes"):
        return f"`{_size(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _size(value: Any) -> str:
    return f"{value >> 20} MiB" if value % (1 << 20) == 0 else str(value)


def _anchor(heading: str) -> str:
    """What a heading is called in links to it."""
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter == "_")


def _cell(text: str) -> str:
    """Text that can stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
