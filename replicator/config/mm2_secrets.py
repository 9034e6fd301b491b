"""Values that don't belong into a file in clear, and Kafka's references to them, as this program's references."""

from __future__ import annotations

import re
from typing import Any

from replicator.config.mm2 import Found, Mm2Properties, listed

# `ConfigTransformer.DEFAULT_PATTERN`
_REFERENCE = re.compile(r"\$\{([^}]*?):(?:([^}]*?):)?([^}]*?)\}")
_ENVIRONMENT, _DIRECTORY, _FILE = "EnvVarConfigProvider", "DirectoryConfigProvider", "FileConfigProvider"


class Secrets:
    """Of one file. Each environment variable that is to be set becomes a note, once."""

    def __init__(self, properties: Mm2Properties) -> None:
        self._properties = properties
        self._said: set[str] = set()
        self._providers: dict[str, str] = {}
        declared = properties.properties.get("config.providers")
        for name in listed(declared.value) if declared else []:
            key = f"config.providers.{name}.class"
            if key in properties.properties:
                self._providers[name] = properties.properties[key].value.rpartition(".")[2].strip()
                properties.used.add(key)
        if declared:
            properties.used.add("config.providers")
        self.variables: set[str] = set()

    def refer(self, found: Found, what: str, *, secret: bool) -> Any:
        """The value as YAML: as it is if it isn't secret, else a reference; references of Kafka's as our own."""
        match = _REFERENCE.search(found.value)
        if match is not None and match[1] in self._providers:
            return self._translated(found, match, what)
        if not secret:
            return escaped(found.value)
        name = _variable(what)
        self._say(name, "it holds the secret that the property has in clear", found)
        return f"${{{name}}}"

    def _translated(self, found: Found, match: re.Match[str], what: str) -> Any:
        provider, path, key = self._providers[match[1]], match[2] or "", match[3]
        alone = match.span() == (0, len(found.value))
        if provider == _ENVIRONMENT and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            before, after = found.value[: match.start()], found.value[match.end() :]
            self.variables.add(key)
            return f"{escaped(before)}${{{key}}}{escaped(after)}"
        if provider == _DIRECTORY and alone:
            return {"file": f"{path}/{key}"}
        name = _variable(what)
        if provider == _FILE:
            self._say(name, f"it is the value of {key} in {path}, of which a single key can't be read here", found)
        else:
            self._say(name, f"the provider {match[1]} ({provider}) has no equivalent", found)
        return f"${{{name}}}"

    def _say(self, name: str, why: str, found: Found) -> None:
        self.variables.add(name)
        if name not in self._said:
            self._said.add(name)
            self._properties.note(f"set the environment variable {name}, or write {{file: …}} instead: {why}", found)


def escaped(text: str) -> str:
    """Text that the configuration file's reader gives back as it is."""
    return re.sub(r"\$(?=[${])", "$$", text)


def _variable(what: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", what).upper()
    return name if name[0].isalpha() or name[0] == "_" else f"_{name}"
