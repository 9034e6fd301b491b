"""The service model as the control plane reads it: operations, shapes, errors."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

import pytest

from broker.msk import api, errors
from broker.msk.model import service_model
from broker.msk.registry import HANDLERS
from broker.msk.shapes import write

MODEL = service_model()
ARN = "arn:aws:kafka:us-east-1:123456789012:cluster/orders/abcd1234-abcd-cafe-abab-9876543210ab-4"
ENCODED = ARN.replace(":", "%3A").replace("/", "%2F")
GROUP = {"clientSubnets": ["subnet-1", "subnet-2"], "instanceType": "kafka.m5.large"}
NOT_HERE = {"Channel"}


def test_every_operation_of_the_model_has_a_function_and_no_function_is_for_nothing() -> None:
    assert api is not None
    wanted = {name for name in MODEL.operations if not any(word in name for word in NOT_HERE)}
    assert wanted - HANDLERS.keys() == set()
    assert HANDLERS.keys() - MODEL.operations.keys() == set()


def test_errors_have_the_types_and_codes_of_the_model() -> None:
    ours = {
        one.type: one.status
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.ServiceError) and one is not errors.FrontDoorError
    }
    assert ours == MODEL.exceptions


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", f"/v1/clusters/{ENCODED}", "DescribeCluster"),
        ("GET", f"/api/v2/clusters/{ENCODED}", "DescribeClusterV2"),
        ("GET", "/v1/clusters", "ListClusters"),
        ("POST", "/v1/clusters", "CreateCluster"),
        ("PUT", f"/v1/clusters/{ENCODED}/nodes/count", "UpdateBrokerCount"),
        ("GET", f"/v1/clusters/{ENCODED}/topics/a%2Fb/partitions", "DescribeTopicPartitions"),
    ],
)
def test_a_request_is_found_by_its_method_and_encoded_path(method: str, path: str, operation: str) -> None:
    found = MODEL.find(method, path)
    assert found is not None
    assert found[0].name == operation
    assert found[1].get("clusterArn", ARN) == ARN


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/clusters"), ("GET", f"/v1/clusters/{ARN}"), ("GET", "/")])
def test_what_the_service_has_not_is_not_found(method: str, path: str) -> None:
    assert MODEL.find(method, path) is None


def test_one_answer_names_everything_that_is_wrong_with_a_request() -> None:
    body = {"brokerNodeGroupInfo": {"clientSubnets": "a", "instanceType": "m5"}, "numberOfBrokerNodes": 99, "x": 1}
    with pytest.raises(errors.BadRequest) as caught:
        MODEL.operations["CreateCluster"].read({}, {}, body)
    said = caught.value.message
    assert said.startswith("5 validation errors detected: ")
    assert "Value null at 'clusterName' failed to satisfy constraint: Member must not be null" in said
    assert "Value 'm5' at 'brokerNodeGroupInfo.instanceType' failed to satisfy constraint: " in said
    assert "Value '99' at 'numberOfBrokerNodes' failed to satisfy constraint: Member must have value less than" in said
    assert caught.value.invalid_parameter == "brokerNodeGroupInfo.clientSubnets"


@pytest.mark.parametrize(
    ("value", "good"), [(3, True), (3.0, True), ("3", False), (3.5, False), (True, False), (2**40, False), (0, False)]
)
def test_whole_numbers_are_told_from_what_looks_like_them(value: object, good: bool) -> None:
    body = {"clusterName": "a", "kafkaVersion": "3.6.0", "brokerNodeGroupInfo": GROUP, "numberOfBrokerNodes": value}
    if good:
        assert MODEL.operations["CreateCluster"].read({}, {}, body)["numberOfBrokerNodes"] == 3
    else:
        with pytest.raises(errors.BadRequest):
            MODEL.operations["CreateCluster"].read({}, {}, body)


def test_members_come_from_path_query_and_body_and_null_counts_as_left_out() -> None:
    listing = MODEL.operations["ListNodes"].read({"clusterArn": ARN}, {"maxResults": ["7"], "nextToken": ["t"]}, {})
    assert listing == {"clusterArn": ARN, "maxResults": 7, "nextToken": "t"}
    untag = MODEL.operations["UntagResource"].read({"resourceArn": ARN}, {"tagKeys": ["a", "b"]}, {})
    assert untag["tagKeys"] == ["a", "b"]
    made = MODEL.operations["CreateConfiguration"].read(
        {}, {}, {"name": "a", "serverProperties": "YT1i", "description": None}
    )
    assert made == {"name": "a", "serverProperties": b"a=b"}


@pytest.mark.parametrize(("query", "says"), [({"maxResults": ["0"]}, "greater"), ({"maxResults": ["x"]}, "a number")])
def test_a_wrong_query_is_refused(query: dict[str, list[str]], says: str) -> None:
    with pytest.raises(errors.BadRequest, match=says):
        MODEL.operations["ListNodes"].read({"clusterArn": ARN}, query, {})


def test_answers_have_times_blobs_and_nothing_that_is_none() -> None:
    shape = MODEL.operations["DescribeConfigurationRevision"].output
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
    written = write(shape, {"creationTime": moment, "serverProperties": b"a=b", "description": None, "revision": 1})
    assert written == {"creationTime": "2026-01-02T03:04:05.678Z", "serverProperties": "YT1i", "revision": 1}


def test_an_answer_that_the_model_does_not_know_is_a_mistake_of_ours() -> None:
    shape = MODEL.operations["DeleteCluster"].output
    with pytest.raises(TypeError, match="colour"):
        write(shape, {"colour": "red"})
    with pytest.raises(TypeError, match="GONE"):
        write(shape, {"state": "GONE"})
