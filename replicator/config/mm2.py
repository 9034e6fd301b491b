"""`mm2.properties` as MirrorMaker 2 understands it: which flows there are, and which of a property's places counts.

The rules are those of `MirrorMakerConfig`: a connector's property is taken from `A->B.`, else from the top level if it
is one of the connectors' own; a connection's from `A.` or, for what all clients have, from the top level; and
`A->B.source.cluster.` and its like override both. What nobody asked for is kept, so that it can be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from replicator.config.properties import Property
from replicator.errors import ConfigurationError

# `MirrorClientConfig.CLIENT_CONFIG_DEF`: of these, top-level ones count for every cluster that has none of its own.
CLIENT_PREFIXES = ("ssl.", "sasl.", "security.protocol", "security.providers", "bootstrap.servers")


@dataclass(frozen=True, slots=True)
class Note:
    """Something that somebody has to know or do; `key` is the property as it was written, if it is about one."""

    text: str
    key: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.key}: {self.text}" if self.key else self.text


@dataclass(frozen=True, slots=True)
class Found:
    """A value and the property that it comes from; `key` is "" for a default."""

    value: str
    key: str = ""
    line: int = 0


@dataclass(slots=True)
class Mm2Properties:
    """The properties of `file`. Reading one marks it, and those that it hides, as `used`."""

    properties: Mapping[str, Property]
    file: str
    used: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)

    def clusters(self) -> list[str]:
        """The aliases, in the file's order; ConfigurationError if there are none, or one has no addresses."""
        found = self._first("clusters")
        aliases = list(dict.fromkeys(listed(found.value))) if found else []
        if not aliases:
            raise ConfigurationError(f"{self.file}: `clusters` isn't set: MirrorMaker wouldn't start with this file")
        return aliases

    def flows(self) -> Iterator[tuple[str, str]]:
        """(source, target) of the flows that are enabled; the others, and what isn't a flow, become notes."""
        aliases = self.clusters()
        for source in aliases:
            for target in aliases:
                if source == target:
                    continue
                prefix = f"{source}->{target}."
                given = [key for key in self.properties if key.startswith(prefix)]
                enabled = self._first(prefix + "enabled")
                if enabled is not None and is_true(enabled.value):
                    yield source, target
                elif given:
                    self.used.update(given)
                    why = "is disabled" if enabled else "isn't enabled (MirrorMaker's default)"
                    at = enabled or Found("", given[0], self.properties[given[0]].line)
                    text = (
                        f"the flow {source}->{target} {why}: no link is written; its {len(given)} properties are unused"
                    )
                    self.notes.append(Note(text, at.key, at.line))

    def connector(self, flow: tuple[str, str], name: str, *, global_too: bool = True) -> Found | None:
        """A connector's property. `global_too` is False for what MirrorMaker takes from `A->B.` alone."""
        keys = [f"{flow[0]}->{flow[1]}.{name}"]
        return self._first(*keys, name) if global_too else self._first(*keys)

    def worker(self, flow: tuple[str, str], name: str) -> Found | None:
        """A property of the flow's Connect worker: of its target cluster, or of the top level."""
        return self._first(name, f"{flow[1]}.{name}")

    def client(self, alias: str, name: str) -> Found | None:
        """A connection's property: the cluster's own, else the top level's."""
        keys = [f"{alias}.{name}"]
        return self._first(*keys, name) if name.startswith(CLIENT_PREFIXES) else self._first(*keys)

    def consumer(self, flow: tuple[str, str], name: str) -> Found | None:
        """A property of the consumer that reads the source's records."""
        source, target = flow
        pair = f"{source}->{target}."
        return self._first(f"{pair}source.consumer.{name}", f"{pair}consumer.{name}", f"{source}.consumer.{name}")

    def producer(self, flow: tuple[str, str], name: str) -> Found | None:
        """A property of the producer that writes the target's records."""
        source, target = flow
        pair = f"{source}->{target}."
        return self._first(f"{pair}producer.override.{name}", f"{target}.producer.{name}")

    def unused(self) -> Iterator[tuple[str, int]]:
        """(key, line) of what nobody has asked for."""
        for key, found in self.properties.items():
            if key not in self.used:
                yield key, found.line

    def note(self, text: str, found: Found | None = None) -> None:
        """Add one, about a property if it was set."""
        self.notes.append(Note(text, found.key, found.line) if found else Note(text))

    def _first(self, *keys: str) -> Found | None:
        present = [key for key in keys if key in self.properties]
        self.used.update(present)
        if not present:
            return None
        held = self.properties[present[0]]
        return Found(held.value, present[0], held.line)


def listed(value: str) -> list[str]:
    """A LIST of Kafka's `ConfigDef`: separated by commas, blanks around them left out."""
    return [item for item in (part.strip() for part in value.split(",")) if item]


def is_true(value: str) -> bool:
    """A BOOLEAN: Java's `parseBoolean` takes everything else for false, and `ConfigDef` refuses it."""
    return value.strip().lower() == "true"


def without_prefix(key: str, aliases: list[str]) -> str:
    """A property's name without the flow or cluster, and the client, that it is for."""
    flows = [f"{source}->{target}." for source in aliases for target in aliases if source != target]
    for prefix in [*flows, *(f"{alias}." for alias in aliases)]:
        if key.startswith(prefix):
            key = key.removeprefix(prefix)
            break
    for prefix in ("source.cluster.", "target.cluster.", "source.", "target."):
        key = key.removeprefix(prefix)
    return key
