"""What breaks simpler designs of exactly-once, on real Kafka: brokers that forget, compaction, lost answers, restarts.

As in `test_kills`, one corpus is copied in either way at a time, and the same is judged in the end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.e2e.crew import Crew
from tests.e2e.positions import judge_positions
from tests.e2e.scenario import Cluster, Scenario
from tests.e2e.test_kills import BOTH_WAYS, PAUSE_S, fresh_seed, judge
from tests.support.checker import Seen, count_readable, read_partition
from tests.support.copying import create
from tests.support.corpus import Kind
from tests.support.kafka import KafkaCluster
from tests.support.rawclient import RawClient
from tests.support.rawlog import raw_log
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

DAY_MS = 86_400_000
FORGETS_AFTER_MS = 10_000  # what brokers keep of a producer by the timestamp of its last batch; the default is a day
FORGETFUL = {
    "producer.id.expiration.ms": str(FORGETS_AFTER_MS),
    "producer.id.expiration.check.interval.ms": "500",
}
FRESH = Kind("fresh", partitions=3, time="now", producer={"compression.type": "lz4"})
PAST = Kind("past", partitions=3)
BOTH = Kind("both", partitions=2, time="both")
TRANSACTIONS = Kind("transactions", transactional=True, time="now")


def rolling(policy: str) -> dict[str, str]:
    """Settings of a topic that can be compacted at once up to a second ago, but isn't yet."""
    lag = {"min.compaction.lag.ms": str(30 * DAY_MS), "min.cleanable.dirty.ratio": "0.01"}
    return {"cleanup.policy": policy, "segment.ms": "1000", **lag}


@pytest.fixture(scope="module")
def source() -> Iterator[KafkaCluster]:
    with KafkaCluster(name="source") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def target() -> Iterator[KafkaCluster]:
    with KafkaCluster(name="target", proxied=True) as cluster:
        yield cluster


def scenario_of(source: Cluster, target: Cluster, directory: Path, name: str, seed: int, *kinds: Kind) -> Scenario:
    scenario = Scenario(source, target, directory, f"{name}{seed}", copies=BOTH_WAYS, seed=seed, kinds=kinds)
    scenario.corpus.write()
    return scenario


@pytest.mark.soak
@pytest.mark.parametrize("zombie", [False, True], ids=["killed", "suspended"])
def test_given_records_older_than_brokers_remember_producers_when_workers_fail_then_each_arrives_once(
    source: KafkaCluster, target: KafkaCluster, tmp_path: Path, zombie: bool
) -> None:
    seed = fresh_seed()
    target.restart(FORGETFUL)
    scenario = scenario_of(source, target, tmp_path, "forgotten", seed, PAST, FRESH, BOTH)
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S):
            scenario.wait_until_all_move(within=40)
            crew.kill_twice()
            if zombie:
                crew.suspend_one(FORGETS_AFTER_MS / 1000 + 8)  # until its successor's fence is forgotten, too
        judge(scenario, seed)
        crew.stop()
    target.restart({})


def test_given_everybody_was_killed_when_both_sides_are_compacted_before_the_restart_then_no_state_is_lost(
    source: KafkaCluster, target: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    compacted = Kind("compacted", partitions=2, keyed=True, time="now", config=rolling("compact"))
    becoming = Kind("becoming", partitions=2, keyed=True, time="now", config=rolling("delete"))
    scenario = scenario_of(source, target, tmp_path, "compaction", seed, compacted, becoming, FRESH)
    with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
        with Crew(scenario, seed) as crew:
            crew.wait_ready()
            scenario.wait_until_all_move(within=40)
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 50, within=60, what="producers go on")
            for worker in list(crew.workers):
                crew.kill(worker)
        rounds = writer.rounds
        wait_for(lambda: writer.rounds > rounds + 50, within=60, what="producers go on")
    topics = {topic: count for topic, count in scenario.corpus.topics.items() if "fresh" not in topic}
    compact(source, topics)
    compact(
        target, {f"{alias}.{topic}": n for alias in scenario.links for topic, n in topics.items() if "comp" in topic}
    )
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
            wait_for(lambda: writer.rounds > 20, within=60, what="producers go on")
        faults = wait_copied_or_stated(scenario)
        crew.stop()
    assert not {key for key in faults if "becoming" not in key[1]}, faults
    for alias in scenario.links:
        for topic, count in topics.items():
            for partition in range(count):
                if (alias, topic, partition) not in faults:
                    judge_history(scenario, alias, topic, partition)
    scenario.judge_writers()


@pytest.mark.soak  # fenced writing waits 45 s until a former owner is surely gone
def test_given_transactional_ids_expired_while_nobody_ran_then_each_record_arrives_once(
    source: KafkaCluster, target: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    scenario = scenario_of(source, target, tmp_path, "expired", seed, FRESH, PAST)
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        scenario.wait_until_copied()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S):
            scenario.wait_until_all_move(within=40)
        scenario.wait_until_copied()  # what isn't committed would have to time out first
        for worker in list(crew.workers):
            crew.kill(worker)
    with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
        wait_for(lambda: writer.rounds > 30, within=60, what="producers go on")
        target.restart(
            {
                "transactional.id.expiration.ms": "1000",
                "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
                "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
            }
        )
        wait_for(
            lambda: not transactional_ids(target, scenario), within=60, every=0.5, what="all ids of the links expired"
        )
        target.restart({})
        with Crew(scenario, seed) as crew:
            crew.wait_ready()
            scenario.wait_until_all_move(within=120)
            crew.kill_one()
            writer.stop()
            scenario.wait_until_copied(within=90)
            scenario.judge()
            scenario.judge_writers()
            for alias in scenario.links:
                judge_positions(scenario, alias, random.Random(seed), points=200)


def test_given_a_target_topic_recreated_under_the_workers_then_said_and_nothing_is_written_to_the_new_one(
    source: KafkaCluster, target: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    scenario = scenario_of(source, target, tmp_path, "recreated", seed, FRESH, PAST)
    topics = list(scenario.corpus.topics)
    victims = [f"{alias}.{topic}" for alias in scenario.links for topic in topics[:1]]
    with Crew(scenario, seed, size=1) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S) as writer:
            scenario.wait_until_all_move(within=40)
            admin = target.admin()
            for future in admin.delete_topics(victims).values():
                future.result(15)
            for victim in victims:
                wait_for(lambda: recreated(target, victim, 3), within=20, every=0.1, what="it is there again")  # noqa: B023
            rounds = writer.rounds
            wait_for(lambda: writer.rounds > rounds + 50, within=60, what="producers go on")

            def stated() -> bool:
                for link in scenario.links.values():
                    status = scenario.installation.status(link)
                    reasons = {status[topics[0], partition]["reason"] for partition in range(3)}
                    assert reasons == {"TARGET_RECREATED"}, reasons
                return True

            wait_for(stated, within=40, every=0.5, what="it is said")
            crew.kill(crew.workers[0])
            crew.fill_up()
            crew.wait_ready()
            wait_for(stated, within=40, every=0.5, what="it is still said")
        for victim in victims:
            # What goes in transactions goes by name, and may reach the new topic: it is aborted then.
            seen = [record for n in range(3) for record in read_partition(target.client_config, victim, n)]
            assert not seen, f"{victim}: {len(seen)} records"
            if not victim.startswith("ustx."):
                log = [b for n in range(3) for b in raw_log(target.bootstrap, victim, n) if not b.is_control]
                assert not log, victim


@pytest.mark.soak
def test_given_answers_are_lost_and_the_broker_restarts_before_the_resend_then_each_record_arrives_once(
    source: KafkaCluster, target: KafkaCluster, tmp_path: Path
) -> None:
    seed = fresh_seed()
    scenario = scenario_of(source, target, tmp_path, "unanswered", seed, FRESH, PAST, BOTH, TRANSACTIONS)
    (proxy,) = target.proxies
    with Crew(scenario, seed) as crew:
        crew.wait_ready()
        with scenario.corpus.keep_writing(scenario.acks, pause_s=PAUSE_S):
            scenario.wait_until_all_move(within=40)
            before = proxy.swallowed
            proxy.swallow()
            time.sleep(crew.rng.uniform(0.1, 1.5))  # the fault's own length
            assert proxy.swallowed > before
            target.kill_node(0)
            proxy.heal()
            target.start_node(0)
            crew.say(f"{proxy.swallowed - before} bytes of answers were lost before a restart")
            scenario.wait_until_all_move(within=60)
            proxy.swallow()
            time.sleep(crew.rng.uniform(0.1, 1.5))
            for worker in list(crew.workers):  # and nobody is left who knows what was sent
                crew.kill(worker)
            target.kill_node(0)
            proxy.heal()
            target.start_node(0)
            crew.fill_up()
            scenario.wait_until_all_move(within=60)
        judge(scenario, seed)
        crew.stop()


# ---- what the cases need ---------------------------------------------------------------------------------------------


def recreated(cluster: KafkaCluster, topic: str, partitions: int) -> bool:
    """Create it again as soon as that goes; whether it is there."""
    if topic not in cluster.admin().list_topics(timeout=5).topics:
        create(cluster.admin(), topic, partitions)
    return topic in cluster.admin().list_topics(timeout=5).topics


def transactional_ids(cluster: KafkaCluster, scenario: Scenario) -> list[str]:
    """Those of the scenario's links that the coordinator knows."""
    with RawClient(cluster.internal) as client:
        answer = client.call("list_transactions", 0)
    names = tuple(f"replicator.{link}." for link in scenario.links.values())
    return [state.transactional_id for state in answer.transaction_states if state.transactional_id.startswith(names)]


def compact(cluster: KafkaCluster, topics: Mapping[str, int]) -> None:
    """Compact these topics now, whatever their policy was; nothing compacts them any more when it returns."""
    counted = {
        (topic, n): count_readable(cluster.client_config, topic, n) for topic, k in topics.items() for n in range(k)
    }
    set_configs(cluster, topics, {"cleanup.policy": "compact", "min.compaction.lag.ms": "0"})
    seen: dict[tuple[str, int], int] = {}

    def settled() -> bool:
        now = {place: count_readable(cluster.client_config, *place) for place in counted}
        same = now == seen
        seen.update(now)
        assert all(now[place] < counted[place] for place in counted), f"{counted} -> {now}"
        return same

    wait_for(settled, within=60, every=1.0, what=f"{sorted(topics)} are compacted")
    set_configs(cluster, topics, {"min.compaction.lag.ms": str(30 * DAY_MS)})
    print(f"compacted: {counted} -> {seen}")


def set_configs(cluster: KafkaCluster, topics: Mapping[str, int], settings: Mapping[str, str]) -> None:
    changes = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in settings.items()]
    admin = cluster.admin()
    resources = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes) for topic in topics]
    for future in admin.incremental_alter_configs(resources).values():
        future.result(15)


def wait_copied_or_stated(scenario: Scenario) -> dict[tuple[str, str, int], str]:
    """Wait until every partition is copied to its end, or says that it can't know how far it had come."""
    faults: dict[tuple[str, str, int], str] = {}

    def done() -> bool:
        faults.clear()
        for alias, link in scenario.links.items():
            for (topic, partition), found in scenario.installation.status(link).items():
                if found["state"] == "FAULTED":
                    assert found["reason"] == "RECOVERY_AMBIGUOUS", found
                    faults[alias, topic, partition] = found["detail"]
                else:
                    assert found["lag"] == 0, found
        return True

    wait_for(done, within=90, every=0.5, what="all is copied, or the reason why not is given")
    print(f"stopped: {faults}")
    return faults


def judge_history(scenario: Scenario, alias: str, topic: str, partition: int) -> None:
    """A copy where both sides may have been compacted: in order, nothing twice, and the newest of each key."""
    where = f"{alias}.{topic}-{partition}"
    offsets = {
        digest: offset
        for noted, number, offset, digest in scenario.corpus.acknowledged.read()
        if (noted, number) == (topic, partition)
    }
    source = read_partition(scenario.source.client_config, topic, partition)
    offsets |= {record.digest(): record.offset for record in source}
    copied = read_partition(scenario.target.client_config, f"{alias}.{topic}", partition)
    order = [offsets[record.digest()] for record in copied]
    assert order == sorted(set(order)), f"{where}: out of order, or twice: {order}"
    assert newest(copied) == newest(source), f"{where}: another newest record of a key"
    there = set(order)
    last: dict[bytes | None, int] = {record.key: offset for record, offset in zip(copied, order, strict=True)}
    lost = [r for r in source if r.offset not in there and last.get(r.key, -1) < r.offset]
    assert not lost, f"{where}: lost {lost[:5]}"
    print(f"{where}: {len(source)} records, {len(copied)} in the copy")


def newest(records: list[Seen]) -> dict[bytes | None, tuple[object, ...]]:
    """The last record of each key."""
    return {record.key: record.content() for record in records}
