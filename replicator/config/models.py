"""The settings of design section 11, as frozen pydantic models.

Every default carries its reason. `replicator.config.load` reads the YAML file into `Settings`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

from replicator.config.mm2_names import is_heartbeats


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _timestamp(value: Any) -> Any:
    """`start: {timestamp: T}` and `start: T` are the same; a bare number isn't a time."""
    if isinstance(value, dict) and set(value) == {"timestamp"}:
        value = value["timestamp"]
    if isinstance(value, str) and re.fullmatch(r"[-+.\d]+", value):
        raise ValueError("not a time with date and zone")
    return value


_SIZE = re.compile(r"(\d+) *(B|KiB|MiB|GiB)?")
_FACTORS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _size(value: Any) -> Any:
    """Bytes as a number, or as `64 MiB`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _FACTORS[match[2]]
    return value


def _boolean(value: Any) -> Any:
    """YAML's words for true and false; anything else is left for the type to refuse."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _addresses(value: Any) -> Any:
    """A YAML list of addresses is as good as the comma-separated text."""
    return ",".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


Boolean = Annotated[bool, BeforeValidator(_boolean)]
OnlyTrue = Annotated[Literal[True], BeforeValidator(_boolean)]
OnlyFalse = Annotated[Literal[False], BeforeValidator(_boolean)]
Size = Annotated[int, BeforeValidator(_size)]


class SecurityConfig(_Frozen):
    """How to connect to a cluster: Kafka's `security.protocol` and `sasl.mechanism`, and their material."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: SecretStr | None = None
    verify_hostname: bool = True


class ClusterConfig(_Frozen):
    """A named Kafka cluster; the name (the key in `clusters:`) is its alias."""

    bootstrap_servers: Annotated[str, BeforeValidator(_addresses)]
    security: SecurityConfig = SecurityConfig()
    client_rack: str | None = None  # KIP-392: fetch from a replica in this rack


class TopicsConfig(_Frozen):
    """Which topics are copied, under which names, from where on."""

    include: tuple[str, ...] = (".*",)
    exclude: tuple[str, ...] = (r".*[\-.]internal", r".*\.replica", "__.*")  # MirrorMaker 2's default
    naming: Literal["prefix", "identical"] = "prefix"
    start: Annotated[Literal["earliest", "latest"] | AwareDatetime, BeforeValidator(_timestamp)] = "earliest"


class GroupsConfig(_Frozen):
    """Which consumer groups' positions are kept in step."""

    include: tuple[str, ...] = (".*",)
    exclude: tuple[str, ...] = ("console-consumer-.*", "connect-.*", "__.*")  # MirrorMaker 2's default


CONFIG_EXCLUDE = (
    r"follower\.replication\.throttled\.replicas",
    r"leader\.replication\.throttled\.replicas",
    r"message\.timestamp\.difference\.max\.ms",
    r"message\.timestamp\.type",
    r"unclean\.leader\.election\.enable",
    r"min\.insync\.replicas",
    # So far MirrorMaker 2's list; tiered storage is a property of the cluster, not of the data:
    r"remote\.(storage|log)\..*",
    r"local\.retention\..*",
)


class SyncConfig(_Frozen):
    """What is kept in step besides records. Only the values that this version acts upon are accepted."""

    configs: Boolean = True  # False: topics are still created with the source's settings, and then let be
    config_exclude: tuple[str, ...] = CONFIG_EXCLUDE  # full match
    acls: Annotated[bool | Literal["full"], BeforeValidator(_boolean)] = True  # True: MirrorMaker 2's and MSK's rules
    groups: Boolean = True  # the positions of consumer groups
    new_topics: OnlyTrue = True
    checkpoints: bool = True  # as MirrorMaker 2, whose clients translate groups' positions by them
    heartbeats: bool = True  # as MirrorMaker 2, whose clients ask `<alias>.heartbeats` where copies come from
    every: Annotated[float, Field(ge=0.1, le=3600)] = 5.0  # seconds between two looks at both clusters


class LinkConfig(_Frozen):
    """One direction, source -> target, with its filters (MirrorMaker 2: flow; MSK: replicator)."""

    name: str
    source: str
    target: str
    topics: TopicsConfig = TopicsConfig()
    groups: GroupsConfig = GroupsConfig()
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    writing: Literal["auto", "transactions"] = "auto"  # how exactly_once writes; of no effect under at_least_once
    compression: Literal["source", "none", "gzip", "snappy", "lz4", "zstd"] = "source"
    lanes: Annotated[int, Field(ge=1, le=1024)] = 32
    placement: Literal["fixed", "by_load"] = "fixed"  # by_load: hot partitions move to lanes of less busy workers
    origins: Literal["all", "native"] = "all"  # native: under identical naming, only what clients of the source wrote
    replication_factor: Annotated[int, Field(ge=1, le=32)] | None = None  # None: the source's, at most the brokers
    separator: str = "."
    on_gap: Literal["stop", "continue"] = "stop"  # what is missing for good waits for a human, or is only recorded
    delete_topics: Boolean = False  # a topic deleted on the source stays on the target, as with MirrorMaker 2
    use_defaults_from: Literal["source", "target"] = "target"  # MirrorMaker 2's `use.defaults.from`
    delete_groups: Boolean = False  # whether positions that were written go when the group is gone on the source
    sync: SyncConfig = SyncConfig()

    def remote_topic(self, topic: str) -> str:
        """The name of a source topic's copy on the target. Heartbeats tell by it where they come from, in any case."""
        keeps_name = self.topics.naming == "identical" and not self.copies_heartbeats(topic)
        return topic if keeps_name else f"{self.source}{self.separator}{topic}"

    def copies_heartbeats(self, topic: str) -> bool:
        """Whether the topic is copied as heartbeats: by MirrorMaker 2's rules, whatever filters and naming say."""
        return self.sync.heartbeats and is_heartbeats(topic, self.separator)

    def selects(self, topic: str) -> bool:
        """Whether the filters take this source topic: full match, exclude wins."""
        if self.copies_heartbeats(topic):
            return True
        if any(re.fullmatch(pattern, topic) for pattern in self.topics.exclude):
            return False
        return any(re.fullmatch(pattern, topic) for pattern in self.topics.include)


class ServiceConfig(_Frozen):
    """The daemon's own settings."""

    http: str = "127.0.0.1:8080"
    token: SecretStr | None = None  # required when `http` isn't loopback
    cert_file: str | None = None  # both: serve HTTPS
    key_file: str | None = None
    memory_bytes: Annotated[Size, Field(ge=16 << 20)] = 256 << 20  # fetched and not yet acknowledged, per worker
    # Lines in /metrics: of every partition (None), or sums by topic and lines of the so many that are worst off.
    metrics_partitions: Annotated[int, Field(ge=0)] | None = None


class Settings(_Frozen):
    """The whole file."""

    clusters: dict[str, ClusterConfig]
    links: tuple[LinkConfig, ...]
    service: ServiceConfig = ServiceConfig()

    @field_validator("links")
    @classmethod
    def _heartbeats_once(cls, links: tuple[LinkConfig, ...]) -> tuple[LinkConfig, ...]:
        """Of several links between the same clusters the first one sends heartbeats: their copy has one name."""
        seen: set[tuple[str, str]] = set()
        once = []
        for link in links:
            first = not link.sync.heartbeats or (link.source, link.target) not in seen
            quiet = link.sync.model_copy(update={"heartbeats": False})
            once.append(link if first else link.model_copy(update={"sync": quiet}))
            if link.sync.heartbeats:
                seen.add((link.source, link.target))
        return tuple(once)

    def link(self, name: str) -> LinkConfig:
        """The link of this name; KeyError if there is none."""
        for link in self.links:
            if link.name == name:
                return link
        raise KeyError(name)

    def links_into(self, cluster: str) -> tuple[LinkConfig, ...]:
        """The links that write to this cluster."""
        return tuple(link for link in self.links if link.target == cluster)

    def returns(self, link: LinkConfig) -> bool:
        """Whether a topic that the link writes to is also written to by clients and comes back: links that keep names
        lead from its target to its source again."""
        return self._lead_back(link, self.links)

    def closes(self, link: LinkConfig) -> bool:
        """Whether links that come before it in the file lead from its target to its source, keeping names: what can
        go in one direction alone, as topics' settings do, goes theirs."""
        return self._lead_back(link, self.links[: self.links.index(link)] if link in self.links else ())

    @staticmethod
    def _lead_back(link: LinkConfig, links: tuple[LinkConfig, ...]) -> bool:
        reached, waiting = set[str](), [link.target] if link.topics.naming == "identical" else []
        while waiting:
            alias = waiting.pop()
            if alias not in reached:
                reached.add(alias)
                waiting += [o.target for o in links if o.source == alias and o.topics.naming == "identical"]
        return link.source in reached
