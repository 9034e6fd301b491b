"""What `replicator doctor` looks at on a link, beside what `check` does: whether both sides' topics fit each other."""

from __future__ import annotations

from collections.abc import Mapping

from replicator.config.models import LinkConfig
from replicator.errors import ReplicatorError
from replicator.examine.cluster_health import MB, some
from replicator.examine.finding import Finding, ok, problem, warning
from replicator.sync.admin import Admin, ConfigValue
from replicator.sync.topics import TopicPlan
from replicator.wire.connection import MAX_FRAME_BYTES

_SIZE, _MIN_ISR, _UNCLEAN = "max.message.bytes", "min.insync.replicas", "unclean.leader.election.enable"
_REQUEST = "socket.request.max.bytes"

Configs = Mapping[str, Mapping[str, ConfigValue]]


async def examine_topics(link: LinkConfig, plan: TopicPlan, source: Admin, target: Admin) -> list[Finding]:
    """Findings about the link's topics and their copies. ReplicatorError if a cluster doesn't answer."""
    where = f"link {link.name}"
    copies = {name: pair.remote_name for name, pair in plan.pairs.items()}
    there = {
        name: topic
        for name, topic in (await target.describe_topics(copies.values())).items()
        if not isinstance(topic, ReplicatorError)
    }
    here = {
        name: topic
        for name, topic in (await source.describe_topics(copies)).items()
        if not isinstance(topic, ReplicatorError)
    }
    ours, theirs = await _configs(source, here), await _configs(target, there)
    findings = []
    if unread := [name for name in (*here, *there) if name not in ours and name not in theirs]:
        findings.append(warning(where, f"unknown: the settings of {some(unread)}"))
    more = [
        n for n, copy in copies.items() if n in here and copy in there and there[copy].partitions > here[n].partitions
    ]
    if more:
        why = "records with a key would be elsewhere for clients that write to the copies after a move"
        step = "add partitions to the source's topics, if clients count on keys"
        findings.append(warning(where, f"copies have more partitions than their topics: {some(more)}", why, step))
    findings += _sizes(where, copies, ours, theirs)
    findings += _large(where, link, ours, await _broker_value(target, _REQUEST))
    findings += _durability(f"cluster {link.target}", {n: t.replication_factor for n, t in there.items()}, theirs)
    return findings or [ok(where, f"{len(there)} copies fit their topics: partitions, sizes, durability")]


async def _configs(admin: Admin, names: Mapping[str, object]) -> Configs:
    answers = await admin.describe_configs(names)
    return {name: answer for name, answer in answers.items() if not isinstance(answer, ReplicatorError)}


async def _broker_value(admin: Admin, key: str) -> int | None:
    try:
        node = min(broker.id for broker in (await admin.describe_cluster()).brokers)
        return _number((await admin.describe_broker(node)).get(key))
    except (ReplicatorError, ValueError):
        return None


def _number(value: ConfigValue | None) -> int | None:
    return int(value.value) if value is not None and value.value and value.value.lstrip("-").isdigit() else None


def _sizes(where: str, copies: Mapping[str, str], ours: Configs, theirs: Configs) -> list[Finding]:
    smaller = []
    for name, copy in copies.items():
        mine, its = (_number(configs.get(at, {}).get(_SIZE)) for configs, at in ((ours, name), (theirs, copy)))
        if mine is not None and its is not None and its < mine:
            smaller.append(f"{copy} ({its} < {mine})")
    if not smaller:
        return []
    why = "batches are split where they must be, but a single record of that size stops its partition"
    step = f"raise {_SIZE} of these copies, or let the link do so (sync.configs)"
    return [warning(where, f"copies take smaller batches than their topics: {some(smaller)}", why, step)]


def _large(where: str, link: LinkConfig, ours: Configs, request_max: int | None) -> list[Finding]:
    findings = []
    sizes = {name: _number(configs.get(_SIZE)) or 0 for name, configs in ours.items()}
    if huge := [name for name, size in sizes.items() if size > MAX_FRAME_BYTES]:
        what = f"{some(huge)}: {_SIZE} is larger than the {MAX_FRAME_BYTES // MB} MB that a worker takes at once"
        findings.append(warning(where, what, "a batch of that size can't be read", f"lower {_SIZE} on {link.source}"))
    if request_max is not None and (wide := [name for name, size in sizes.items() if size > request_max]):
        what = f"{some(wide)}: {_SIZE} is larger than {_REQUEST} of {link.target}, {request_max // MB} MB"
        findings.append(warning(where, what, "a batch of that size can't be written", f"raise {_REQUEST}"))
    return findings


def _durability(where: str, replicas: Mapping[str, int], theirs: Configs) -> list[Finding]:
    findings = []
    least = {name: _number(configs.get(_MIN_ISR)) or 1 for name, configs in theirs.items()}
    if stuck := [name for name, count in replicas.items() if least.get(name, 1) > count]:
        what = f"{_MIN_ISR} is larger than the number of replicas: {some(stuck)}"
        findings.append(problem(where, what, "nothing can be written with acks=all", f"lower {_MIN_ISR}"))
    if edge := [name for name, count in replicas.items() if least.get(name, 1) == count > 1]:
        what = f"{_MIN_ISR} is the number of replicas: {some(edge)}"
        step = "add a replica, or lower it by one"
        findings.append(warning(where, what, "copying stops when one broker is away", step))
    unclean = [n for n, c in theirs.items() if (value := c.get(_UNCLEAN)) is not None and value.value == "true"]
    if unclean:
        why = "a broker that is behind may become leader, and what it lacks is lost: acknowledged records and positions"
        findings.append(warning(where, f"{_UNCLEAN} is true: {some(unclean)}", why, "set it to false"))
    if replicas and max(replicas.values()) == 1:
        why = "with its broker the data is gone"
        findings.append(
            warning(where, f"{len(replicas)} copies have a single replica", why, "set replication_factor: 3")
        )
    return findings
