"""A configuration's server.properties: read, and checked against what MSK lets users set.

Source: AWS developer guide, "Custom Amazon MSK configurations"; the errors' shape is the service's.
"""

from __future__ import annotations

import json

from broker.config_defs import BROKER_CONFIGS, InvalidConfig
from broker.msk.errors import BadRequest

MAX_BYTES = 32 * 1024
ALLOWED = frozenset((
    "allow.everyone.if.no.acl.found", "auto.create.topics.enable", "auto.leader.rebalance.enable",
    "compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
    "connections.max.idle.ms", "default.replication.factor", "delete.topic.enable", "group.consumer.max.size",
    "group.initial.rebalance.delay.ms", "group.max.session.timeout.ms", "group.max.size",
    "group.min.session.timeout.ms", "leader.imbalance.check.interval.seconds",
    "leader.imbalance.per.broker.percentage", "log.cleaner.delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms", "log.cleaner.min.cleanable.ratio", "log.cleaner.min.compaction.lag.ms",
    "log.cleanup.policy", "log.flush.interval.messages", "log.flush.interval.ms", "log.index.interval.bytes",
    "log.local.retention.bytes", "log.local.retention.ms", "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms", "log.message.timestamp.difference.max.ms",
    "log.message.timestamp.type", "log.retention.bytes", "log.retention.hours", "log.retention.minutes",
    "log.retention.ms", "log.roll.ms", "log.roll.hours", "log.segment.bytes",
    "max.incremental.fetch.session.cache.slots", "message.max.bytes", "min.insync.replicas", "num.io.threads",
    "num.network.threads", "num.partitions", "num.recovery.threads.per.data.dir", "num.replica.fetchers",
    "offsets.retention.minutes", "offsets.topic.replication.factor", "producer.id.expiration.ms",
    "queued.max.requests", "replica.fetch.max.bytes", "replica.fetch.response.max.bytes",
    "replica.lag.time.max.ms", "replica.selector.class", "replica.socket.receive.buffer.bytes",
    "socket.receive.buffer.bytes", "socket.request.max.bytes", "socket.send.buffer.bytes",
    "ssl.principal.mapping.rules", "transaction.max.timeout.ms", "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor", "transactional.id.expiration.ms",
    "unclean.leader.election.enable", "zookeeper.connection.timeout.ms", "zookeeper.session.timeout.ms",
))  # fmt: skip


def parse_properties(text: str) -> dict[str, str]:
    """Java's properties format, as far as broker settings need it: `name=value`, `name: value`, comments, line ends."""
    out = {}
    for line in text.replace("\r\n", "\n").replace("\\\n", "").split("\n"):
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        at = min((position for position in (line.find("="), line.find(":")) if position >= 0), default=-1)
        name, value = (line, "") if at < 0 else (line[:at], line[at + 1 :])
        out[name.strip()] = value.strip()
    return out


def check_properties(content: bytes) -> str:
    """The text of a configuration that may be kept. Raises BadRequest that lists every wrong property."""
    if len(content) > MAX_BYTES:
        raise BadRequest(f"The configuration is larger than {MAX_BYTES} bytes.", "serverProperties")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The configuration isn't text in UTF-8.", "serverProperties") from None
    problems = []
    for name, value in parse_properties(text).items():
        reason = _problem(name, value)
        if reason is not None:
            problems.append({"name": name, "value": value, "errorMessages": [reason]})
    if problems:
        raise BadRequest(json.dumps(problems, indent=1), "serverProperties")
    return text


def for_broker(properties: dict[str, str]) -> dict[str, str]:
    """Those that the bundled broker knows; the rest only stands in the configuration."""
    return {name: value for name, value in properties.items() if name in BROKER_CONFIGS}


def _problem(name: str, value: str) -> str | None:
    if name not in ALLOWED:
        return f"Key '{name}' is not allowed"
    known = BROKER_CONFIGS.get(name)
    if known is not None:
        try:
            known.check(value)
        except InvalidConfig as error:
            return str(error)
    return None
