"""What `replicator doctor` finds: everything that `check` looks at, and what else may trouble a link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.clocks import COMMIT_MS, newest_record, target_clock
from replicator.durations import age
from replicator.errors import ReplicatorError
from replicator.examine.cluster_health import examine_cluster, nearness, round_trips, told, way_findings
from replicator.examine.finding import Finding, ok, problem, warning
from replicator.examine.findings import examine
from replicator.examine.link_health import examine_topics
from replicator.ledger.lanes import control_topic, ledger_topic, map_topic
from replicator.sync.admin import Admin
from replicator.sync.topics import TopicSync
from replicator.wire.cluster import ClusterClient

_CLIENT_ID = "replicator-doctor"
_LIMIT_S = 120.0
_AHEAD_MS = 1_000


async def diagnose(settings: Settings, links: Collection[LinkConfig]) -> list[Finding]:
    """Those of `check`, and those beside it for the links whose clusters can be used."""
    findings = await examine(settings, links)
    away = {finding.where for finding in findings if finding.exit_code == 3}
    for link in links:
        if f"cluster {link.source}" in away or f"cluster {link.target}" in away:
            continue
        try:
            findings += await asyncio.wait_for(_link(settings, link), _LIMIT_S)
        except TimeoutError:
            findings.append(problem(f"link {link.name}", "the clusters answer too slowly", exit_code=3))
        except ReplicatorError as error:
            findings.append(problem(f"link {link.name}", str(error), exit_code=error.exit_code))
    return list(dict.fromkeys(findings))  # two links may say the same of a cluster


async def _link(settings: Settings, link: LinkConfig) -> list[Finding]:
    aliases = link.source, link.target
    source, target = (ClusterClient(alias, settings.clusters[alias], _CLIENT_ID) for alias in aliases)
    admins = [Admin(client_properties(settings.clusters[alias], client_id=_CLIENT_ID), alias) for alias in aliases]
    try:
        plan = await TopicSync(link, admins[0], admins[1]).plan()
        ours, theirs = await round_trips(source), await round_trips(target)
        memory = settings.service.memory_bytes
        findings = way_findings(link.source, ours, source=True, memory_bytes=memory)
        findings += way_findings(link.target, theirs, source=False, memory_bytes=memory)
        findings += nearness(link.source, ours, link.target, theirs)
        copies = {pair.remote_name for pair in plan.pairs.values() if pair.target is not None}
        own = {ledger_topic(link.name), map_topic(link.name), control_topic(link.name)}
        findings += await examine_cluster(source, link.name, plan.pairs.keys())
        findings += await examine_cluster(target, link.name, copies | own)
        where = f"link {link.name}"
        findings += await told(where, "how topics fit their copies", examine_topics(link, plan, *admins))
        findings += await told(where, "clocks", _clocks(link, source, target, plan.pairs.keys()))
        return findings
    finally:
        for client in (source, target):
            await client.close()


async def _clocks(
    link: LinkConfig, source: ClusterClient, target: ClusterClient, topics: Collection[str]
) -> list[Finding]:
    findings = []
    step = "set the clocks by NTP: lag in seconds, retention and recovery go by them"
    skew = await target_clock(target, link.name)
    where = f"cluster {link.target}"
    if skew is None:
        why = "it is read off the ledger, which says nothing of it yet"
        findings.append(ok(where, f"clock: nothing is known of it: {why}"))
    elif skew.surely_ms:
        side = "ahead of" if skew.surely_ms > 0 else "behind"
        seen = age(max(0, int(time.time() * 1000) - skew.at_ms))
        what = f"clock: at least {abs(skew.surely_ms)} ms {side} that of the workers, {seen} ago"
        findings.append(warning(where, what, "by a transaction's marker in the ledger", step))
    else:
        findings.append(ok(where, f"clock: agrees with that of the workers, within {COMMIT_MS / 1000:g} s"))
    ahead = await newest_record(source, topics)
    where = f"cluster {link.source}"
    if ahead is not None and ahead > _AHEAD_MS:
        what = f"clock: its newest record is {age(ahead)} ahead of our clock"
        why = "its writers' clock is wrong, or the broker's under LogAppendTime, or ours"
        findings.append(warning(where, what, why, step))
    else:
        findings.append(ok(where, "clock: no record is from the future"))
    return findings
