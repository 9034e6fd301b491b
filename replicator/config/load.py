"""From a YAML file to `Settings`, or to an error that names file, line and key, and what would be right."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from replicator.config.checks import find_problems, find_warnings
from replicator.config.explain import explain
from replicator.config.models import Settings
from replicator.config.tree import KeyPath, Problem, Tree, parse_tree, read_tree
from replicator.errors import ConfigurationError

_MAX_SHOWN = 20
_FILE_KEYS = ("ca_file", "cert_file", "key_file", "token_ca_file", "path")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file says, and what an operator should know about it although it can be used."""

    settings: Settings
    warnings: tuple[str, ...]


def load(path: str | Path, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the YAML file `path`; ConfigurationError listing everything that is wrong in it."""
    return load_with_warnings(path, environ=environ).settings


def load_with_warnings(path: str | Path, *, environ: Mapping[str, str] = os.environ) -> Loaded:
    """As `load`, with the warnings."""
    path = Path(path)
    return _interpret(read_tree(path, environ), path.parent)


def load_text(text: str, *, file: str = "replicator.yaml", environ: Mapping[str, str] = os.environ) -> Loaded:
    """As `load_with_warnings`, for text that is in no file."""
    return _interpret(parse_tree(text.encode(), file, Path(), environ), Path())


def _interpret(tree: Tree, directory: Path) -> Loaded:
    if not isinstance(tree.value, dict):
        raise ConfigurationError(f"{tree.file}:1: must be a mapping with clusters, links and service")
    _anchor_files(tree.value, directory)
    try:
        settings = Settings.model_validate(tree.value)
    except ValidationError as error:
        raise _refusal(tree, explain(error, tree)) from None  # pydantic's text may hold a secret
    problems = find_problems(settings, tree)
    if problems:
        raise _refusal(tree, problems)
    return Loaded(settings, tuple(tree.show(warning) for warning in find_warnings(settings)))


def _refusal(tree: Tree, problems: list[Problem]) -> ConfigurationError:
    lines = [tree.show(problem) for problem in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
        lines.append(f"{tree.file}: and {len(problems) - _MAX_SHOWN} more")
    return ConfigurationError("\n".join(lines))


def _anchor_files(value: dict[str, Any], directory: Path) -> None:
    """Paths of certificates and logs are relative to the file that names them, not to where the program was started."""
    for holder in _holders(value):
        for key in _FILE_KEYS:
            name = holder.get(key)
            if isinstance(name, str) and name:
                holder[key] = str(directory / Path(name).expanduser())


def _holders(value: dict[str, Any]) -> list[dict[str, Any]]:
    clusters = value.get("clusters")
    service = value.get("service")
    holders = [service]
    if isinstance(service, dict) and isinstance(delivery := service.get("log_delivery"), dict):
        holders.append(delivery.get("log_file"))
    if isinstance(clusters, dict):
        holders += [cluster.get("security") for cluster in clusters.values() if isinstance(cluster, dict)]
    return [holder for holder in holders if isinstance(holder, dict)]


__all__ = ["KeyPath", "Loaded", "load", "load_text", "load_with_warnings"]
