"""Whether a cluster can be a replicator's source or target.

Source: AWS developer guide, "Supported configurations" and "Network requirements" of MSK Replicator. Within a region
neither multi-VPC connectivity nor a cluster policy is needed.
"""

from __future__ import annotations

from broker.iam.errors import PolicyError
from broker.iam.policy import PolicyDocument
from broker.msk import kafka_versions
from broker.msk.clusters.listeners import enabled, ways
from broker.msk.errors import BadRequest
from broker.msk.records import ClusterRecord, ClusterState
from broker.msk.replicators.policies import POLICY_ACTIONS, SERVICE, allows_service

SINCE, SINCE_IDENTICAL = (2, 7, 0), (2, 8, 1)
MIN_BROKERS, MIN_BROKERS_OF_TWO_ZONES = 3, 4
_WHERE = "kafkaClusters"


def check_fit(record: ClusterRecord, side: str, *, identical: bool) -> None:
    """Raises BadRequest for a cluster that replicators can't use. `side` is source or target."""
    who = f"The {side} cluster {record.name}"
    if record.state is not ClusterState.ACTIVE:
        raise BadRequest(f"{who} must be in the ACTIVE state; it is {record.state}.", _WHERE)
    if not ways(record).iam:
        raise BadRequest(f"{who} must have IAM access control enabled.", _WHERE)
    if record.provisioned is None:
        return
    version = record.provisioned["currentBrokerSoftwareInfo"]["kafkaVersion"]
    numbers = kafka_versions.numbers(version)
    if numbers < SINCE[: len(numbers)]:
        raise BadRequest(f"{who} must run Apache Kafka 2.7.0 or higher; it runs {version}.", _WHERE)
    if identical and numbers < SINCE_IDENTICAL[: len(numbers)]:
        raise BadRequest(
            f"{who} must run Apache Kafka 2.8.1 or higher for identical topic names; it runs {version}.", _WHERE
        )
    if record.provisioned["brokerNodeGroupInfo"]["instanceType"].startswith("kafka.t3."):
        raise BadRequest(f"{who} has brokers of type t3.small, which MSK Replicator doesn't support.", _WHERE)
    zones = len({node.zone for node in record.nodes})
    least = MIN_BROKERS_OF_TWO_ZONES if zones == 2 else MIN_BROKERS
    if len(record.nodes) < least:
        raise BadRequest(
            f"{who} must have at least {least} brokers in {zones} Availability Zones; it has {len(record.nodes)}.",
            _WHERE,
        )


def check_reachable(record: ClusterRecord) -> None:
    """What the source of another region must allow. Raises BadRequest."""
    who = f"The source cluster {record.name}"
    if record.provisioned is None:
        return
    if ways(record).unauthenticated:
        raise BadRequest(f"{who} must not allow unauthenticated access for cross-region replication.", _WHERE)
    vpc = (record.provisioned["brokerNodeGroupInfo"].get("connectivityInfo") or {}).get("vpcConnectivity") or {}
    if not enabled(vpc.get("clientAuthentication"), "sasl", "iam"):
        raise BadRequest(
            f"{who} must have multi-VPC private connectivity turned on for IAM for cross-region replication.", _WHERE
        )
    if record.policy is None:
        raise BadRequest(f"{who} must have a cluster policy that allows {SERVICE} {', '.join(POLICY_ACTIONS)}.", _WHERE)
    try:
        document = PolicyDocument.parse(record.policy, kind="resource")
    except PolicyError as error:
        raise BadRequest(f"The cluster policy of {record.name} isn't valid: {error}", _WHERE) from None
    missing = [action for action in POLICY_ACTIONS if not allows_service(document, action, record)]
    if missing:
        raise BadRequest(f"The cluster policy of {record.name} must allow {SERVICE} {', '.join(missing)}.", _WHERE)
