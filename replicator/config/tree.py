"""YAML as plain values with the line of every key, and with `${NAME}`, `{file: …}` and `{secretsmanager: …}` filled in.

Scalars stay the text that the user wrote (`password: 0123` is `"0123"`, `username: no` is `"no"`): which type a value
has is for the settings' models to say, not for YAML to guess. Only an empty or `null` plain scalar is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from replicator.config.secrets import MAX_BYTES as MAX_SECRET_BYTES
from replicator.config.secrets import AwsText, FileText
from replicator.credentials.secrets_manager import STORE, SecretReference, part_of
from replicator.errors import ConfigurationError, ReplicatorError

KeyPath = tuple[str | int, ...]

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 100_000  # aliases (`*name`) multiply what a small file holds

_REFERENCE = re.compile(r"\$(\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or worth a warning), and where."""

    path: KeyPath
    text: str
    line: int | None = None  # where the tree doesn't know the path


@dataclass(slots=True)
class Tree:
    """A parsed file: plain dicts, lists, text and None; `lines` knows the line of every key path."""

    file: str
    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def known(self, path: KeyPath) -> KeyPath:
        """The longest beginning of `path` that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return path

    def show(self, problem: Problem) -> str:
        """`file:line: key.path: text`."""
        line = problem.line or self.lines.get(self.known(problem.path), 1)
        key = dotted(problem.path)
        return f"{self.file}:{line}: {key}: {problem.text}" if key else f"{self.file}:{line}: {problem.text}"


def dotted(path: KeyPath) -> str:
    """`links[0].topics.include`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read_tree(path: Path, environ: Mapping[str, str]) -> Tree:
    """Parse `path` and fill in references; ConfigurationError with file and line where that can't be done."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read: {error.strerror or error}; "
            "give the file with -c, or write one with `replicator init`"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB: not a configuration file")
    return parse_tree(data, str(path), path.parent, environ)


def parse_tree(data: bytes, file: str, directory: Path, environ: Mapping[str, str]) -> Tree:
    """The tree of YAML text `data`; `{file: …}` is relative to `directory`."""
    tree = Tree(file)
    try:
        node = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: isn't UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        text = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise ConfigurationError(f"{place}: isn't valid YAML: {text}{_yaml_hint(text)}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{file}: isn't valid YAML: {error}") from error
    if node is None:
        raise ConfigurationError(f"{file}:1: the file is empty; `replicator init` writes one to start from")
    tree.value = _Builder(tree, directory, environ).build(node, ())
    return tree


class _Builder:
    def __init__(self, tree: Tree, directory: Path, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._directory = directory
        self._environ = environ
        self._nodes = 0
        self._above: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        line = self._tree.lines.setdefault(path, node.start_mark.line + 1)
        if self._nodes > MAX_NODES or len(path) > 32 or id(node) in self._above:
            raise self._error(path, line, "too much or endless nesting")
        self._above.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path, line)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            if node.tag == "tag:yaml.org,2002:null":
                return None
            return self._fill_in(node.value, path, line)
        finally:
            self._above.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, line: int) -> Any:
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(path, key_line, "a key must be plain text")
            key = key_node.value
            if key in value:
                raise self._error(
                    (*path, key), key_line, f"is given twice, first in line {self._tree.lines[*path, key]}"
                )
            self._tree.lines[*path, key] = key_line
            value[key] = self.build(value_node, (*path, key))
        if set(value) == {"file"}:
            return self._read(value["file"], path, line)
        if "secretsmanager" in value:
            return self._ask_aws(value, path, line)
        return value

    def _fill_in(self, text: str, path: KeyPath, line: int) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[1] == "$":
                return "$"
            found = self._environ.get(match["name"], match["default"])
            if found is None:
                raise self._error(
                    path,
                    line,
                    f"environment variable {match['name']} is not set; set it, or give a default: "
                    f"${{{match['name']}:-…}} (a literal ${{ is written $${{)",
                )
            return found

        return _REFERENCE.sub(replace, text) if "$" in text else text

    def _read(self, name: Any, path: KeyPath, line: int) -> str:
        if not isinstance(name, str) or not name:
            raise self._error(path, line, "`{file: …}` needs the path of a file")
        target = self._directory / Path(name).expanduser()
        try:
            with target.open("rb") as file:
                data = file.read(MAX_SECRET_BYTES + 1)
            if len(data) > MAX_SECRET_BYTES:
                raise self._error(path, line, f"file {target} is larger than {MAX_SECRET_BYTES >> 10} KiB")
            return FileText(data.decode("utf-8").rstrip("\r\n"), target.absolute())
        except OSError as error:
            raise self._error(path, line, f"file {target} can't be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise self._error(path, line, f"file {target} isn't UTF-8 text") from error

    def _ask_aws(self, value: dict[str, Any], path: KeyPath, line: int) -> str:
        known = ("secretsmanager", "key", "region", "profile")
        if unknown := sorted(value.keys() - set(known)):
            raise self._error(
                (*path, unknown[0]), line, f"isn't known here; beside secretsmanager: {', '.join(known[1:])}"
            )
        if not all(isinstance(given, str) and given for given in value.values()):
            raise self._error(path, line, "`{secretsmanager: …}` needs the name or ARN of a secret")
        reference = SecretReference(value["secretsmanager"], value.get("region"), value.get("profile"))
        try:
            found = STORE.read(reference)
        except ReplicatorError as error:
            text = f"{error}; check the name, the region, and that secretsmanager:GetSecretValue is allowed on it"
            raise self._error(path, line, text) from error
        key, default = value.get("key"), str(path[-1])
        if (part := part_of(found, key, default)) is None:
            raise self._error(path, line, f"secret {reference.name} is no JSON object with text under {key!r}")
        return AwsText(part, reference, key, default)

    def _error(self, path: KeyPath, line: int, text: str) -> ConfigurationError:
        return ConfigurationError(self._tree.show(Problem(path, text, line)))


def _yaml_hint(text: str) -> str:
    if "escape" in text:
        return "; in double quotes a backslash needs doubling: use single quotes for regular expressions"
    if "alias" in text or "'*'" in text:
        return "; a regular expression that begins with * or & needs quotes"
    if "got '{'" in text:
        return "; between braces or brackets ${NAME} needs quotes"
    if "'\\t'" in text:
        return "; indent with spaces"
    return ""
