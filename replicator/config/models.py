"""The settings of design section 11, as frozen pydantic models.

Every default carries its reason; the text below a key is what `replicator.config.document` prints of it.
`replicator.config.load` reads the YAML file into `Settings`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator

from replicator.config.fields import Boolean, Frozen, OnlyTrue, Size, boolean
from replicator.config.mm2_names import is_heartbeats
from replicator.config.reverse import with_reverses
from replicator.config.secrets import Secret
from replicator.config.telemetry import CloudWatchConfig, LogDeliveryConfig


def _timestamp(value: Any) -> Any:
    """`start: {timestamp: T}` and `start: T` are the same; a bare number isn't a time."""
    if isinstance(value, dict) and set(value) == {"timestamp"}:
        value = value["timestamp"]
    if isinstance(value, str) and re.fullmatch(r"[-+.\d]+", value):
        raise ValueError("not a time with date and zone")
    return value


def _addresses(value: Any) -> Any:
    """A YAML list of addresses is as good as the comma-separated text."""
    return ",".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


class SecurityConfig(Frozen):
    """How to connect to a cluster: Kafka's `security.protocol` and `sasl.mechanism`, and their material."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether with TLS (`SSL`), with a log-in (`SASL`), or both."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None = None
    """How to log in; needed with `SASL_…`."""
    username: str | None = None
    """Who logs in; needed with `PLAIN` and `SCRAM-…`."""
    password: Secret | None = None
    """Needed with `PLAIN` and `SCRAM-…`."""
    region: str | None = None
    """`AWS_MSK_IAM`: the cluster's region; without it that of the brokers' names, else of `AWS_REGION`."""
    profile: str | None = None
    """`AWS_MSK_IAM`: of AWS's configuration files; without it AWS's default chain (environment, files, roles)."""
    role_arn: str | None = None
    """`AWS_MSK_IAM`: a role to assume with those credentials."""
    role_session_name: str = "replicator"  # as CloudTrail shows it
    """`AWS_MSK_IAM`: what the session of `role_arn` is called."""
    external_id: str | None = None
    """`AWS_MSK_IAM`: where the trust policy of `role_arn` asks for one."""
    token_endpoint: str | None = None
    """`OAUTHBEARER`: where tokens are to be had for client credentials (OAuth 2); `https://…`."""
    client_id: str | None = None
    """`OAUTHBEARER`: who asks for them."""
    client_secret: Secret | None = None
    """`OAUTHBEARER`: its secret."""
    client_auth: Literal["basic", "post"] = "basic"  # RFC 6749 asks every endpoint for it
    """`OAUTHBEARER`: whether both travel in a header or among the form's fields."""
    scope: str | None = None
    """`OAUTHBEARER`: what the token is to be good for; several words with spaces between."""
    extensions: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """`OAUTHBEARER`: SASL extensions for the broker, such as `logicalCluster` (KIP-342)."""
    token_ca_file: str | None = None
    """`OAUTHBEARER`: the authorities to trust for `token_endpoint`, as PEM; without it the system's."""
    ca_file: str | None = None
    """The authorities to trust, as PEM; without it the system's."""
    cert_file: str | None = None
    """Our own certificate, as PEM: mutual TLS."""
    key_file: str | None = None
    """Its key, where `cert_file` doesn't hold that too."""
    key_password: Secret | None = None
    """The key's password, if it has one."""
    verify_hostname: bool = True
    """Whether a broker's certificate has to be for the name that it was reached by."""


class ClusterConfig(Frozen):
    """A named Kafka cluster; the name (the key in `clusters:`) is its alias."""

    bootstrap_servers: Annotated[str, BeforeValidator(_addresses)]
    """Some of its brokers as `host:port`, separated by commas, or as a list."""
    security: SecurityConfig = SecurityConfig()
    client_rack: str | None = None
    """Fetch from a replica in this rack, where the brokers offer it (KIP-392)."""


class TopicsConfig(Frozen):
    """Which topics are copied, under which names, from where on."""

    include: tuple[str, ...] = (".*",)
    """Regular expressions for whole names of topics."""
    exclude: tuple[str, ...] = (r".*[\-.]internal", r".*\.replica", "__.*")  # MirrorMaker 2's default
    """The same for those that aren't copied; wins over `include`."""
    naming: Literal["prefix", "identical"] = "prefix"
    """`prefix`: `orders` of cluster `us` becomes `us.orders`; `identical`: it stays `orders`."""
    start: Annotated[Literal["earliest", "latest"] | AwareDatetime, BeforeValidator(_timestamp)] = "earliest"
    """Where to begin with topics that are there when the link begins; newer ones are copied whole."""


class GroupsConfig(Frozen):
    """Which consumer groups' positions are kept in step."""

    include: tuple[str, ...] = (".*",)
    """Regular expressions for whole names of groups."""
    exclude: tuple[str, ...] = ("console-consumer-.*", "connect-.*", "__.*")  # MirrorMaker 2's default
    """The same for those that are let be; wins over `include`. Groups called `replicator.…` are never taken."""


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


class SyncConfig(Frozen):
    """What is kept in step besides records."""

    configs: Boolean = True
    """Settings of topics follow the source; `false`: only when a copy is created."""
    config_exclude: tuple[str, ...] = CONFIG_EXCLUDE
    """Regular expressions for whole names of settings that are let be."""
    acls: Annotated[bool | Literal["full"], BeforeValidator(boolean)] = True  # True: MirrorMaker 2's and MSK's rules
    """ACLs of copied topics without grants to write; `full`: as they are, with groups' and transactional ids'."""
    groups: Boolean = True
    """Positions of consumer groups, written while a group has no members on the target."""
    new_topics: OnlyTrue = True
    """New topics are copied too; this version knows nothing else."""
    checkpoints: bool = True  # MirrorMaker 2's clients translate groups' positions by them
    """Groups' positions in MirrorMaker 2's topic `<source>.checkpoints.internal` on the target."""
    heartbeats: bool = True  # MirrorMaker 2's clients ask `<alias>.heartbeats` where copies come from
    """MirrorMaker 2's heartbeats, one a second; of several links between the same clusters the first sends them."""
    every: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    """Seconds between two looks at both clusters."""


class DrillConfig(Frozen):
    """Drills by themselves (`replicator drill`), on a canary topic."""

    every: Annotated[str, Field(pattern=r"^[1-9]\d{0,4}[mhd]$")] | None = None
    """How often, such as `7d`, `12h` or `30m`; without it only when somebody runs one."""
    mode: Literal["promote", "failover"] = "promote"
    """`failover`: as if the source were gone, while clients still write to it."""

    @property
    def every_ms(self) -> int | None:
        """The same in milliseconds."""
        return (
            None
            if self.every is None
            else int(self.every[:-1]) * {"m": 60, "h": 3600, "d": 86400}[self.every[-1]] * 1000
        )


CANARY = "replicator-drill-"  # begins the names of drills' topics


class LinkConfig(Frozen):
    """One direction, source -> target, with its filters (MirrorMaker 2: flow; MSK: replicator)."""

    name: str
    """Its name in commands, metrics and internal topics."""
    source: str
    """The cluster that is copied from; a key of `clusters`."""
    target: str
    """The cluster that is copied to."""
    reverse_of: str | None = None
    """The link that it is the way back of, asleep until `replicator reverse`; keys that are left out are as there."""
    topics: TopicsConfig = TopicsConfig()
    groups: GroupsConfig = GroupsConfig()
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """`at_least_once` needs no transactional ids; a crash repeats the last second or so."""
    writing: Literal["auto", "transactions"] = "auto"
    """How `exactly_once` writes: `auto` in transactions only where it has to; what is fresh is readable at once."""
    compression: Literal["source", "none", "gzip", "snappy", "lz4", "zstd"] = "source"
    """`source`: batches stay as they are; anything else compresses them anew, at a cost."""
    lanes: Annotated[int, Field(ge=1, le=1024)] = 32
    """Units of work that all workers share; fixed once the link has started."""
    placement: Literal["fixed", "by_load"] = "fixed"
    """`by_load`: hot partitions move to lanes of less busy workers."""
    origins: Literal["all", "native"] = "all"
    """`native`: under identical names, only what clients of the source wrote; for full meshes."""
    replication_factor: Annotated[int, Field(ge=1, le=32)] | None = None
    """Of topics that are created; without it the source's, at most the target's brokers."""
    separator: str = "."
    """Between the source's alias and the topic's name."""
    on_gap: Literal["stop", "continue"] = "stop"
    """`stop`: where data is missing for good, the partition waits for `replicator resume`; `continue`: it goes on."""
    delete_topics: Boolean = False
    """Whether the copy of a topic that was deleted is deleted."""
    use_defaults_from: Literal["source", "target"] = "target"
    """Whose default holds where a topic has no setting of its own."""
    bandwidth: Annotated[Size, Field(ge=1 << 10)] | None = None
    """Bytes a second that are read from the source, at most, by all workers together; can change any time."""
    delete_groups: Boolean = False
    """Whether positions that were written are deleted when the source has none of the group any more."""
    sync: SyncConfig = SyncConfig()
    drill: DrillConfig = DrillConfig()

    def remote_topic(self, topic: str) -> str:
        """The name of a source topic's copy on the target. Heartbeats tell by it where they come from, in any case; on
        the way back a topic gets the name that it had before."""
        if self.reverse_of is not None:
            return topic.removeprefix(self._prefix_there)
        keeps_name = self.topics.naming == "identical" and not self.copies_heartbeats(topic)
        return topic if keeps_name else f"{self.source}{self.separator}{topic}"

    def copies_heartbeats(self, topic: str) -> bool:
        """Whether the topic is copied as heartbeats: by MirrorMaker 2's rules, whatever filters and naming say."""
        return self.sync.heartbeats and is_heartbeats(topic, self.separator)

    @property
    def _prefix_there(self) -> str:
        """On the way back: what the copies' names begin with on its source."""
        return "" if self.topics.naming == "identical" else f"{self.target}{self.separator}"

    @property
    def names_tell(self) -> bool:
        """Whether a target topic's name says that it is a copy."""
        return self.topics.naming == "prefix" and self.reverse_of is None

    def selects(self, topic: str) -> bool:
        """Whether the filters take this source topic: full match, exclude wins. On the way back they are about the name
        that it had before."""
        if self.copies_heartbeats(topic):
            return True
        if self.reverse_of is not None:
            if not topic.startswith(self._prefix_there) or is_heartbeats(topic, self.separator):
                return False
            topic = self.remote_topic(topic)
        if any(re.fullmatch(pattern, topic) for pattern in self.topics.exclude):
            return False
        return any(re.fullmatch(pattern, topic) for pattern in self.topics.include)


class TokenConfig(Frozen):
    """Somebody who may use the HTTP API."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._@-]+$")]
    """Who it is: the audit trail shows it."""
    token: Secret
    """What they show as `Authorization: Bearer …`."""
    role: Literal["view", "operate"] = "view"
    """`view` shows everything and changes nothing; `operate` gives orders as well."""


class ServiceConfig(Frozen):
    """The daemon's own settings."""

    http: str = "127.0.0.1:8080"
    """Where page, metrics and API are served: `host:port`, or `unix:/path`."""
    token: Secret | None = None
    """What clients have to show as `Authorization: Bearer …`; but on loopback, this or `tokens` is needed."""
    tokens: tuple[TokenConfig, ...] = ()
    """Several people's, each with a name and a role."""
    cert_file: str | None = None
    """With `key_file`: HTTPS."""
    key_file: str | None = None
    """With `cert_file`: HTTPS."""
    memory_bytes: Annotated[Size, Field(ge=16 << 20)] = 256 << 20
    """What is fetched and not yet acknowledged, at most, per worker."""
    metrics_partitions: Annotated[int, Field(ge=0)] | None = None
    """With thousands of partitions: lines in `/metrics` for so many that are worst off, and sums by topic."""
    cloudwatch: CloudWatchConfig | None = None
    """Metrics for Amazon CloudWatch; without it none are sent."""
    log_delivery: LogDeliveryConfig | None = None
    """Where log lines go besides stderr."""


class Settings(Frozen):
    """The whole file."""

    clusters: dict[str, ClusterConfig]
    """Every cluster that a link names, by its alias."""
    links: tuple[LinkConfig, ...]
    """One per direction."""
    service: ServiceConfig = ServiceConfig()

    @field_validator("links", mode="before")
    @classmethod
    def _ways_back(cls, links: Any) -> Any:
        return with_reverses(links)

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

    def counterpart(self, link: LinkConfig) -> LinkConfig | None:
        """The link that is its way back, or whose way back it is; None without one."""
        if link.reverse_of is not None:
            return next((other for other in self.links if other.name == link.reverse_of), None)
        return next((other for other in self.links if other.reverse_of == link.name), None)

    def mixes(self, link: LinkConfig) -> bool:
        """Whether copies and what clients wrote stand in the same topics, so that producers alone tell them apart."""
        return link.topics.naming == "identical" or self.counterpart(link) is not None

    def returns(self, link: LinkConfig) -> bool:
        """Whether a topic that the link writes to is also written to by clients and comes back: links that keep names
        lead from its target to its source again, or it is itself the way back."""
        return link.reverse_of is not None or self._lead_back(link, self.links)

    def closes(self, link: LinkConfig) -> bool:
        """Whether links that come before it in the file lead from its target to its source, keeping names: what can
        go in one direction alone, as topics' settings do, goes theirs."""
        return self._lead_back(link, self.links[: self.links.index(link)] if link in self.links else ())

    def _lead_back(self, link: LinkConfig, links: tuple[LinkConfig, ...]) -> bool:
        other_way = self.counterpart(link)  # of the two one copies at a time
        links = tuple(each for each in links if each.reverse_of is None and each is not other_way)
        reached, waiting = set[str](), [link.target] if link.topics.naming == "identical" else []
        while waiting:
            alias = waiting.pop()
            if alias not in reached:
                reached.add(alias)
                waiting += [o.target for o in links if o.source == alias and o.topics.naming == "identical"]
        return link.source in reached
