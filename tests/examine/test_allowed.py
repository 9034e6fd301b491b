"""What is said of permissions that are missing, or that nobody can know of."""

from __future__ import annotations

from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.examine.allowed import Allowed, missing
from replicator.examine.finding import Level
from replicator.examine.needs import Need, Purpose
from replicator.wire.permissions import CLUSTER, GROUP, TOPIC

CLUSTERS = {
    "us": ClusterConfig(bootstrap_servers="u:1"),
    "eu": ClusterConfig(bootstrap_servers="e:1,e:2", security=SecurityConfig(protocol="SSL", cert_file="c")),
}
STOPS = Purpose("records couldn't be written", True, "exclude the topics")
NICE = Purpose("sync.configs: settings couldn't be kept in step", False, "set `sync.configs: false`")
ALSO = Purpose("sync.groups: positions couldn't be written", False, "set `sync.groups: false`")


def need(*names: str, what: str = "Write", purpose: Purpose = STOPS, family: str = "", kind: str = TOPIC) -> Need:
    return Need("eu", kind, names, what, purpose, family)


def told(**topics: frozenset[str] | None) -> Allowed:
    return Allowed({("eu", TOPIC, name): operations for name, operations in topics.items()})


def test_given_a_permission_that_two_things_need_then_it_is_one_finding_as_bad_as_the_worse() -> None:
    allowed = told(a=frozenset({"Describe"}), b=frozenset({"Describe", "Write"}))
    needs = [need("a", "b", purpose=ALSO), need("a", "b"), need("b", what="Describe")]
    (found,) = missing(needs, allowed, CLUSTERS)
    assert (found.level, found.exit_code, found.what) == (Level.PROBLEM, 1, "Write isn't allowed on topic a")
    assert found.why == "records couldn't be written; sync.groups: positions couldn't be written"
    assert found.next_step == (
        "grant Write on topic a to this principal (in IAM: kafka-cluster:WriteData), "
        "or exclude the topics and set `sync.groups: false`"
    )
    assert found.command == (
        "kafka-acls.sh --bootstrap-server e:1,e:2 --command-config admin.properties --add "
        "--allow-principal User:PRINCIPAL --operation Write --topic a"
    )


def test_given_several_findings_then_those_that_stop_the_copying_come_first() -> None:
    needs = [need("a", what="AlterConfigs", purpose=NICE), need("a", "b")]
    found = missing(needs, told(a=frozenset({"Describe"}), b=frozenset({"Describe"})), CLUSTERS)
    assert [(each.level, each.what) for each in found] == [
        (Level.PROBLEM, "Write isn't allowed on topics a, b"),
        (Level.WARNING, "AlterConfigs isn't allowed on topic a"),
    ]


def test_given_what_mayn_t_be_described_then_all_is_asked_for_but_what_was_tried() -> None:
    allowed = told(a=frozenset())
    allowed.tried[("eu", TOPIC, "a"), "Create"] = True
    (found,) = missing([need("a"), need("a", what="Create"), need("a", what="Read")], allowed, CLUSTERS)
    assert found.what == "Describe isn't allowed on topic a, so that it can't be known what else is"
    assert "grant Describe, Read and Write on topic a " in found.next_step
    allowed.tried[("eu", TOPIC, "a"), "Create"] = False
    (found,) = missing([need("a"), need("a", what="Create")], allowed, CLUSTERS)
    assert "grant Create, Describe and Write on topic a " in found.next_step


def test_given_a_hidden_cluster_of_which_only_what_was_tried_is_needed_then_describe_isn_t_asked_for() -> None:
    allowed = Allowed({("eu", CLUSTER, "kafka-cluster"): frozenset()})
    wanted = need("kafka-cluster", what="DescribeConfigs", purpose=NICE, kind=CLUSTER)
    allowed.tried[("eu", CLUSTER, "kafka-cluster"), "DescribeConfigs"] = True
    assert missing([wanted], allowed, CLUSTERS) == []
    allowed.tried[("eu", CLUSTER, "kafka-cluster"), "DescribeConfigs"] = False
    (found,) = missing([wanted], allowed, CLUSTERS)
    assert found.what == "DescribeConfigs isn't allowed on the cluster"
    assert found.command.endswith("--operation DescribeConfigs --cluster")


def test_given_brokers_that_don_t_say_then_that_is_said_and_isn_t_a_problem() -> None:
    (found,) = missing([need("a", "b"), need("a", what="Read", purpose=ALSO)], told(a=None, b=None), CLUSTERS)
    assert (found.level, found.exit_code, found.command) == (Level.WARNING, 0, "")
    assert found.what == "what is allowed on topics a, b isn't known: the brokers don't say"
    assert found.why == f"without the permission: {STOPS.without}; {ALSO.without}"


def test_given_a_prefix_that_covers_the_names_then_that_is_granted() -> None:
    names = [f"us.{number}" for number in range(200)]
    allowed = Allowed({("eu", TOPIC, name): frozenset({"Describe"}) for name in [*names, "other"]})
    other, family = missing([need("other", *names, family="us.")], allowed, CLUSTERS)
    assert other.command.endswith("--operation Write --topic other")
    assert family.what == "Write isn't allowed on topics us.0, us.1, us.2, us.3, us.4 and 195 more"
    assert family.command.endswith("--operation Write --topic us. --resource-pattern-type prefixed")
    (found,) = missing([need(*names)], allowed, CLUSTERS)
    assert found.command.count("--topic") == 200


def test_given_a_group_with_a_strange_name_then_the_command_can_be_pasted() -> None:
    allowed = Allowed({("us", GROUP, "it's; mine"): frozenset({"Describe"})})
    (found,) = missing([Need("us", GROUP, ("it's; mine",), "Read", ALSO)], allowed, CLUSTERS)
    assert found.command == (
        "kafka-acls.sh --bootstrap-server u:1 --add --allow-principal User:ANONYMOUS --operation Read "
        """--group 'it'"'"'s; mine'"""
    )
