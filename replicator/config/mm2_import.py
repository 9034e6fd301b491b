"""From MirrorMaker 2's properties to this program's configuration, and to a list of what has no equivalent."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import yaml

from replicator.config import mm2_security
from replicator.config.load import load_text
from replicator.config.mm2 import Found, Mm2Properties, Note, is_true, listed, without_prefix
from replicator.config.mm2_names import checkpoints_topic, connect_group, stored_positions_topic
from replicator.config.mm2_reasons import reason
from replicator.config.mm2_secrets import Secrets, escaped
from replicator.config.models import TopicsConfig
from replicator.config.properties import parse_properties
from replicator.errors import ConfigurationError

_PREFIX, _IDENTICAL = "DefaultReplicationPolicy", "IdentityReplicationPolicy"
_NOTHING = "(?!)"  # a regular expression that no topic matches, as MirrorMaker's blank list
_INTERNAL = r".*[\-.]internal"  # never copied by MirrorMaker, whatever its filters say
_EVERY_S = 5.0
_INTERVALS = ("refresh.topics", "refresh.groups", "sync.topic.configs", "sync.topic.acls", "emit.checkpoints")
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True, slots=True)
class Flow:
    """What of an enabled flow isn't in the configuration: MirrorMaker's positions and group on the target."""

    link: str
    source: str
    target: str
    positions_topic: str
    group: str
    checkpoints_topic: str  # empty: no groups were kept in step


@dataclass(frozen=True, slots=True)
class Imported:
    """`yaml` is the configuration; `notes` say what it lacks; `flows` are in the order of its links."""

    yaml: str
    notes: tuple[Note, ...]
    flows: tuple[Flow, ...]


def import_mm2(data: bytes, file: str) -> Imported:
    """The configuration that does what MirrorMaker did with these properties.

    ConfigurationError if MirrorMaker itself couldn't start with them, or nothing is enabled.
    """
    properties = Mm2Properties(parse_properties(data, file), file)
    secrets = Secrets(properties)
    aliases = properties.clusters()
    pairs = list(properties.flows())
    if not pairs:
        raise ConfigurationError(f"{file}: no flow is enabled: set `A->B.enabled = true` for one that is to be copied")
    involved = [alias for alias in aliases if any(alias in pair for pair in pairs)]
    document: dict[str, Any] = {"clusters": {a: mm2_security.cluster(properties, secrets, a) for a in involved}}
    makers = [_Link(properties, pair) for pair in pairs]
    document["links"] = [maker.build() for maker in makers]
    flows = tuple(maker.flow() for maker in makers)
    _account(properties, aliases, involved)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    _judge(properties, text, secrets.variables)
    notes = tuple(sorted(dict.fromkeys(properties.notes), key=lambda note: note.line))
    return Imported(_head(file, notes) + text, notes, flows)


class _Link:
    def __init__(self, properties: Mm2Properties, pair: tuple[str, str]) -> None:
        self._properties = properties
        self._pair = pair
        self._name = f"{pair[0]}-to-{pair[1]}"

    def flow(self) -> Flow:
        source, target = self._pair
        topic = self._properties.worker(self._pair, "offset.storage.topic")
        group = self._properties.client(target, "group.id")
        return Flow(
            self._name,
            source,
            target,
            topic.value.strip() if topic else stored_positions_topic(source),
            group.value.strip() if group else connect_group(source),
            checkpoints_topic(source, self._internal_separator()) if self._flag("sync.group.offsets.enabled") else "",
        )

    def _internal_separator(self) -> str:
        internal = self._flag("replication.policy.internal.topic.separator.enabled")
        separator = self._get("replication.policy.separator")
        return "." if separator is None or internal is False else separator.value

    def build(self) -> dict[str, Any]:
        """One of `links:`. Values that are defaults on both sides are left out."""
        link: dict[str, Any] = {"name": self._name, "source": self._pair[0], "target": self._pair[1]}
        link["topics"] = self._topics()
        if groups := self._patterns("groups", {}):
            link["groups"] = groups
        self._delivery()
        self._one("replication.policy.separator", link, "separator")
        self._number("replication.factor", link, "replication_factor")
        compression = self._properties.producer(self._pair, "compression.type")
        if compression is not None:
            if compression.value in _COMPRESSIONS:
                link["compression"] = compression.value
            else:
                self._properties.note("isn't a compression; the source's is kept", compression)
        defaults = self._get("use.defaults.from", global_too=False)
        if defaults is not None and defaults.value.strip() in ("source", "target"):
            link["use_defaults_from"] = defaults.value.strip()
        if sync := self._sync():
            link["sync"] = sync
        return link

    def _get(self, name: str, *, global_too: bool = True) -> Found | None:
        return self._properties.connector(self._pair, name, global_too=global_too)

    def _flag(self, name: str) -> bool | None:
        found = self._get(name)
        return None if found is None else is_true(found.value)

    def _one(self, name: str, into: dict[str, Any], key: str) -> None:
        found = self._get(name)
        if found is not None:
            into[key] = escaped(found.value)

    def _number(self, name: str, into: dict[str, Any], key: str) -> None:
        found = self._get(name)
        if found is None:
            self._properties.note(
                f"link {self._name}: {name} isn't set. MirrorMaker created topics with 2 replicas; here it is as many "
                f"as on the source, at most the target's brokers. Set {key} for another number"
            )
        elif re.fullmatch(r"[1-9]\d*", found.value.strip()):
            into[key] = int(found.value)
        else:
            self._properties.note("the brokers' default can't be asked for: it is as many as on the source", found)

    def _topics(self) -> dict[str, Any]:
        topics = self._patterns("topics", {"include": list(TopicsConfig().include)})
        separator = self._get("replication.policy.separator")
        never = [_INTERNAL]
        if separator is not None and separator.value not in ("", ".", "-"):
            never.append(f".*{escaped(re.escape(separator.value))}internal")
        if "exclude" in topics or len(never) > 1:
            excluded = topics.setdefault("exclude", list(TopicsConfig().exclude))
            excluded += [pattern for pattern in never if pattern not in excluded]
        policy = self._get("replication.policy.class")
        name = policy.value.strip().rpartition(".")[2] if policy else _PREFIX
        topics["naming"] = "identical" if name == _IDENTICAL else "prefix"
        if name == _IDENTICAL:
            self._properties.note(
                f"link {self._name}: MirrorMaker also renames topics whose names end in `heartbeats` (my-heartbeats); "
                "here only heartbeats themselves are",
                policy,
            )
        elif name != _PREFIX:
            self._properties.note(
                "a policy in Java can't be used; `naming: prefix` is written: compare the names of the copies", policy
            )
        internal = self._get("replication.policy.internal.topic.separator.enabled")
        if internal and separator and not is_true(internal.value) and separator.value != ".":
            self._properties.note("the checkpoints topic's name has the link's separator here", internal)
        reset = self._properties.consumer(self._pair, "auto.offset.reset")
        if reset is not None and reset.value.strip() == "latest":
            topics["start"] = "latest"
        elif reset is not None and reset.value.strip() != "earliest":
            self._properties.note("has no equivalent: copying starts at the earliest record", reset)
        return topics

    def _patterns(self, name: str, default: dict[str, Any]) -> dict[str, Any]:
        made = dict(default)
        for key, suffix in (("include", ""), ("exclude", ".exclude")):
            found = self._get(name + suffix)
            if found is None:
                continue
            patterns = listed(found.value)
            made[key] = [escaped(pattern) for pattern in patterns]
            if key == "include" and not patterns:
                made[key] = [_NOTHING]
            for pattern in patterns:
                if problem := _not_pythons(pattern):
                    self._properties.note(f"{pattern!r}: {problem}; write it for Python's `re`", found)
        return made

    def _delivery(self) -> None:
        exactly = self._properties.client(self._pair[1], "exactly.once.source.support")
        if exactly is None or exactly.value.strip().lower() != "enabled":
            self._properties.note(
                f"link {self._name}: MirrorMaker copied at least once; here it is exactly once, which needs rights on "
                f"transactional ids that begin with replicator.{self._name}. on {self._pair[1]}; "
                "`delivery: at_least_once` doesn't"
            )
        isolation = self._properties.consumer(self._pair, "isolation.level")
        if isolation is None or isolation.value.strip() != "read_committed":
            self._properties.note(
                f"link {self._name}: MirrorMaker copied records of aborted transactions too (isolation.level was "
                "read_uncommitted); here only committed ones are",
                isolation,
            )

    def _sync(self) -> dict[str, Any]:
        sync: dict[str, Any] = {}
        self._switch(sync, "sync.topic.configs", "configs", mm2=True)
        self._switch(sync, "sync.topic.acls", "acls", mm2=True)
        self._switch(sync, "refresh.topics", "new_topics", mm2=True)
        self._switch(sync, "sync.group.offsets", "groups", mm2=False)
        if "groups" in sync:
            self._properties.note(
                f"link {self._name}: MirrorMaker didn't keep consumer groups' positions in step "
                "(sync.group.offsets.enabled isn't true); remove `groups: false` and they are, exactly"
            )
        self._switch(sync, "emit.heartbeats", "heartbeats", mm2=True)
        self._switch(sync, "emit.checkpoints", "checkpoints", mm2=True)
        refresh = self._get("refresh.groups.enabled")
        if refresh is not None and not is_true(refresh.value):
            self._properties.note("new groups can't be left out; exclude them by name", refresh)
        copied = self._get("heartbeats.replication.enabled")
        if copied is not None and not is_true(copied.value) and sync.get("heartbeats", True):
            self._properties.note(
                "heartbeats that are sent are copied too; `sync.heartbeats: false` stops both", copied
            )
        excluded = self._get("config.properties.exclude")
        if excluded is not None:
            sync["config_exclude"] = [escaped(pattern) for pattern in listed(excluded.value)]
        shortest = min((s for name in _INTERVALS if (s := self._interval(name)) is not None), default=_EVERY_S)
        if shortest < _EVERY_S:
            sync["every"] = shortest
        return sync

    def _switch(self, sync: dict[str, Any], name: str, key: str, *, mm2: bool) -> None:
        """Written where it isn't on, as everything is here without being asked for; `mm2` is MirrorMaker's default."""
        wanted = self._flag(f"{name}.enabled")
        if not (mm2 if wanted is None else wanted):
            sync[key] = False

    def _interval(self, name: str) -> float | None:
        found = self._get(f"{name}.interval.seconds")
        if found is None or not found.value.strip().isdigit():
            return None
        seconds = float(found.value)
        if seconds >= _EVERY_S:
            self._properties.note(reason(f"{name}.interval.seconds") or "", found)
        return max(seconds, 0.1)


def _not_pythons(pattern: str) -> str | None:
    """What is wrong with Java's regular expression here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # FutureWarning: `[a[b]` and `&&`, which mean something else
        try:
            re.compile(pattern)
        except (re.error, FutureWarning, DeprecationWarning) as error:
            return f"isn't understood as Java understands it ({error})"
    return None


def _account(properties: Mm2Properties, aliases: list[str], involved: list[str]) -> None:
    """A note for every property that nobody has asked for."""
    idle = [alias for alias in aliases if alias not in involved]
    for key, line in properties.unused():
        name = without_prefix(key, aliases)
        if any(key.startswith(f"{alias}.") for alias in idle):
            text = "no enabled flow begins or ends in this cluster"
        elif "->" in key.split(".")[0] or ("->" in key and name == key):
            text = "names no flow between two of `clusters`; MirrorMaker ignores it"
        elif key != name and name in LIKE_TOP_LEVEL:
            text = "has no effect for a cluster: MirrorMaker takes it from a flow (A->B.) or the top level"
        elif name == "use.defaults.from":
            text = "MirrorMaker takes it from a flow (A->B.) alone"
        else:
            text = reason(name) or "isn't known; MirrorMaker ignores it, or passes it on to Connect or a class of yours"
        properties.notes.append(Note(text, key, line))


LIKE_TOP_LEVEL = frozenset(
    {
        "topics", "topics.exclude", "groups", "groups.exclude", "replication.factor", "config.properties.exclude",
        "replication.policy.class", "replication.policy.separator", "sync.topic.configs.enabled",
        "sync.topic.acls.enabled", "sync.group.offsets.enabled", "emit.heartbeats.enabled", "emit.checkpoints.enabled",
        "refresh.topics.enabled", "refresh.groups.enabled", "enabled",
    }
)  # fmt: skip


def _judge(properties: Mm2Properties, text: str, variables: set[str]) -> None:
    """A note for everything that forbids to run with the result, as far as can be told here."""
    present = re.sub(r"(?m)^( *)(\w+):\n *file: .*$", r"\1\2: stands-for-a-file", text)
    present = re.sub(r"(?m)^ *(ca_file|cert_file|key_file):.*\n", "", present)
    try:
        with warnings.catch_warnings(action="ignore"):  # of regular expressions: said already
            load_text(present, file="replicator.yaml", environ=dict.fromkeys(variables, "127.0.0.1:9092"))
    except ConfigurationError as error:
        for line in str(error).splitlines():
            properties.note(f"to be settled before it runs: {re.sub(r'^[^:]*:[0-9]+: ', '', line)}")


def _head(file: str, notes: tuple[Note, ...]) -> str:
    lines = [f"# From {file.rpartition('/')[2]} by `replicator import-mm2`. Read these notes, then `replicator check`."]
    lines += ["#  - " + " ".join(str(note).split()) for note in notes]
    return "\n".join(lines) + "\n"
