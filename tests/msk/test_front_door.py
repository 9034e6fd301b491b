"""Who gets in and who does not: signatures, policies of callers, wrong bodies, and what is recorded of it all."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.msk.conftest import credentials_file, keys
from tests.msk.world import ACCOUNT, ROOT, SUBNETS, Fakes, World, control_plane, create, provisioned

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kafka:*", "Resource": "*"}]}


def _ask(
    world: World,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    sign: bool = True,
    region: str = "us-east-1",
    service: str = "kafka",
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """One request as raw as it gets, signed by root."""
    host = urllib.parse.urlsplit(world.url).netloc
    request = AWSRequest(method, f"http://{host}{target}", data=body, headers={"Host": host})
    if sign:
        keys = Credentials(ROOT["AWS_ACCESS_KEY_ID"], ROOT["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(keys, service, region).add_auth(request)
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, target, body, dict(request.headers.items()) | (headers or {}))
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content or b"{}"), dict(response.getheaders())
    finally:
        connection.close()


def _code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response: Any = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_given_the_right_keys_the_service_answers_with_a_request_id(kafka: Any) -> None:
    answer = kafka.list_clusters_v2()
    assert answer["ClusterInfoList"] == []
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36


def test_given_a_wrong_secret_then_the_signature_does_not_match(world: World) -> None:
    with pytest.raises(ClientError) as caught:
        world.client(ROOT | {"AWS_SECRET_ACCESS_KEY": "wrong"}).list_clusters_v2()
    assert _code(caught) == ("InvalidSignatureException", 403)
    assert "wrong" not in str(caught.value)


def test_given_an_unknown_key_then_nobody_is_recognised(world: World) -> None:
    with pytest.raises(ClientError) as caught:
        world.client(ROOT | {"AWS_ACCESS_KEY_ID": "AKIASOMEBODYELSE"}).list_clusters_v2()
    assert _code(caught) == ("UnrecognizedClientException", 403)


def test_given_no_signature_then_the_token_is_missing(world: World) -> None:
    status, body, headers = _ask(world, "GET", "/api/v2/clusters", sign=False)
    assert (status, body["__type"], body["message"]) == (
        403,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )
    assert headers["x-amzn-ErrorType"] == body["__type"]
    assert headers["x-amzn-RequestId"]


@pytest.mark.parametrize("minutes", [-20, 20])
def test_given_a_clock_far_off_then_the_signature_has_expired_or_is_not_yet_current(
    tmp_path: Path, fakes: Fakes, minutes: int
) -> None:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    with control_plane(tmp_path, start_cluster=fakes, now=now) as world:
        with pytest.raises(ClientError) as caught:
            world.client().list_clusters_v2()
    assert _code(caught) == ("InvalidSignatureException", 403)


def test_given_a_body_that_was_changed_on_its_way_then_the_signature_does_not_match(world: World) -> None:
    good = json.dumps({"tags": {"a": "b"}}).encode()
    host = urllib.parse.urlsplit(world.url).netloc
    request = AWSRequest("POST", f"http://{host}/v1/tags/x", data=good, headers={"Host": host})
    SigV4Auth(Credentials(ROOT["AWS_ACCESS_KEY_ID"], ROOT["AWS_SECRET_ACCESS_KEY"]), "kafka", "us-east-1").add_auth(
        request
    )
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("POST", "/v1/tags/x", good.replace(b"b", b"c"), dict(request.headers.items()))
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["__type"]) == (403, "InvalidSignatureException")
    connection.close()


def test_given_a_signature_for_another_service_then_it_does_not_count(world: World) -> None:
    status, body, _ = _ask(world, "GET", "/api/v2/clusters", service="s3")
    assert (status, body["__type"]) == (403, "InvalidSignatureException")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"a"', b"NaN", b"[" * 100_000, b"\xff\xfe", b'{"a": Infinity}'])
def test_given_a_body_that_is_no_json_object_then_the_request_is_refused(world: World, body: bytes) -> None:
    status, answer, _ = _ask(world, "POST", "/api/v2/clusters", body)
    assert (status, answer["__type"], answer["message"]) == (400, "BadRequestException", "Invalid request body")


@pytest.mark.parametrize("announced", [True, False])
def test_given_a_body_of_10_mb_then_it_is_not_read_and_the_server_goes_on(world: World, announced: bool) -> None:
    host = urllib.parse.urlsplit(world.url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    body: Any = b"x" * (10 << 20)
    headers = {} if announced else {"Transfer-Encoding": "chunked"}
    try:
        connection.request(
            "POST", "/api/v2/clusters", body if announced else iter([body]), headers, encode_chunked=not announced
        )
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # it stopped listening while we were still talking
    finally:
        connection.close()
    assert status == 413
    assert _ask(world, "GET", "/api/v2/clusters")[0] == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("PATCH", "/v1/clusters"), ("GET", "/")])
def test_given_something_that_the_service_has_not_then_it_says_so(world: World, method: str, path: str) -> None:
    status, body, _ = _ask(world, method, path)
    assert (status, body["__type"]) == (404, "UnknownOperationException")


def test_given_several_mistakes_one_answer_names_the_first_place_and_all_of_them(world: World) -> None:
    status, body, _ = _ask(world, "POST", "/api/v2/clusters", b'{"clusterName": "", "provisioned": {}}')
    assert status == 400
    assert body["invalidParameter"] == "clusterName"
    assert body["message"].startswith("4 validation errors detected: ")


def test_given_too_many_query_fields_then_the_request_is_refused(world: World) -> None:
    query = "&".join(f"a{number}=1" for number in range(300))
    status, body, _ = _ask(world, "GET", f"/api/v2/clusters?{query}")
    assert (status, body["__type"]) == (400, "BadRequestException")


def test_each_region_has_its_own_clusters(world: World, kafka: Any) -> None:
    arn = create(kafka)
    elsewhere = world.client(region="eu-west-1")
    assert elsewhere.list_clusters_v2()["ClusterInfoList"] == []
    with pytest.raises(ClientError) as caught:
        elsewhere.describe_cluster_v2(ClusterArn=arn)
    assert _code(caught) == ("NotFoundException", 404)
    assert ":eu-west-1:" in create(elsewhere)


def test_given_no_policy_then_nothing_is_allowed_and_the_answer_names_action_and_resource(
    tmp_path: Path, fakes: Fakes
) -> None:
    file = credentials_file(tmp_path / "who.json", {"alice": [], "bob": [ALL]})
    with control_plane(tmp_path / "msk", credentials=file, start_cluster=fakes) as world:
        arn = create(world.client(keys("bob")))
        with pytest.raises(ClientError) as caught:
            world.client(keys("alice")).describe_cluster_v2(ClusterArn=arn)
    assert _code(caught) == ("AccessDeniedException", 403)
    assert f"user/alice is not authorized to perform: kafka:DescribeClusterV2 on resource: {arn}" in str(caught.value)


def test_given_conditions_on_tags_then_they_decide(tmp_path: Path, fakes: Fakes) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["kafka:CreateClusterV2", "kafka:TagResource"],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:RequestTag/team": "blue"}},
            },
            {
                "Effect": "Allow",
                "Action": "kafka:Describe*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:ResourceTag/team": "blue"}},
            },
            {"Effect": "Deny", "Action": "kafka:DescribeCluster", "Resource": "*"},
        ],
    }
    file = credentials_file(tmp_path / "who.json", {"carol": [policy]})
    with control_plane(tmp_path / "msk", credentials=file, start_cluster=fakes) as world:
        carol, root = world.client(keys("carol")), world.client()
        with pytest.raises(ClientError) as caught:
            carol.create_cluster_v2(ClusterName="red", Provisioned=provisioned(), Tags={"team": "red"})
        assert _code(caught)[0] == "AccessDeniedException"
        mine = carol.create_cluster_v2(ClusterName="blue", Provisioned=provisioned(), Tags={"team": "blue"})[
            "ClusterArn"
        ]
        others = create(root, "others")
        assert carol.describe_cluster_v2(ClusterArn=mine)["ClusterInfo"]["ClusterName"] == "blue"
        with pytest.raises(ClientError) as caught:
            carol.describe_cluster_v2(ClusterArn=others)
        assert "no identity-based policy allows" in str(caught.value)
        with pytest.raises(ClientError) as caught:
            carol.describe_cluster(ClusterArn=mine)
        assert "explicit deny" in str(caught.value)


def test_given_a_credentials_file_that_changes_then_new_keys_count_and_old_ones_do_not(
    tmp_path: Path, fakes: Fakes
) -> None:
    file = credentials_file(tmp_path / "who.json", {"alice": [ALL]})
    with control_plane(tmp_path / "msk", credentials=file, start_cluster=fakes) as world:
        world.client(keys("alice")).list_clusters_v2()
        credentials_file(file, {"bob": [ALL]})
        world.client(keys("bob")).list_clusters_v2()
        with pytest.raises(ClientError) as caught:
            world.client(keys("alice")).list_clusters_v2()
        assert _code(caught)[0] == "UnrecognizedClientException"
        file.write_text("{")
        world.client(keys("bob")).list_clusters_v2()


def test_every_call_is_recorded_in_cloudtrails_shape_and_no_secret_with_it(
    tmp_path: Path, world: World, kafka: Any
) -> None:
    kafka.create_cluster_v2(ClusterName="orders", Provisioned=provisioned(), Tags={"a": "b"})
    kafka.list_clusters_v2(ClusterNameFilter="or")
    with pytest.raises(ClientError):
        world.client(ROOT | {"AWS_SECRET_ACCESS_KEY": "wrong"}).list_clusters_v2()
    path = tmp_path / "msk" / "audit.jsonl"
    made, listed, refused = (json.loads(line) for line in path.read_text().splitlines())
    assert (made["eventSource"], made["eventName"], made["readOnly"]) == (
        "kafka.amazonaws.com",
        "CreateClusterV2",
        False,
    )
    assert made["userIdentity"]["type"] == "Root"
    assert made["requestParameters"]["provisioned"]["brokerNodeGroupInfo"]["clientSubnets"] == SUBNETS
    assert made["responseElements"]["clusterName"] == "orders"
    assert made["awsRegion"] == "us-east-1"
    assert (listed["readOnly"], listed["responseElements"]) == (True, None)
    assert listed["requestParameters"] == {"clusterNameFilter": "or"}
    assert (refused["errorCode"], refused["userIdentity"]) == ("InvalidSignature", {"type": "Unknown"})
    assert ROOT["AWS_SECRET_ACCESS_KEY"] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_given_an_audit_log_that_can_not_be_written_then_calls_fail(tmp_path: Path, world: World) -> None:
    (tmp_path / "msk" / "audit.jsonl").mkdir()
    status, body, _ = _ask(world, "GET", "/api/v2/clusters")
    assert (status, body["__type"]) == (500, "InternalServerErrorException")
    assert "audit log" in body["message"]


OTHER = "210987654321"


def _with_other_account(path: Path) -> Path:
    file = credentials_file(path, {"alice": [ALL], "eve": [ALL]})
    file.write_text(file.read_text().replace(f"arn:aws:iam::{ACCOUNT}:user/eve", f"arn:aws:iam::{OTHER}:user/eve"))
    return file


def test_another_account_needs_both_its_own_policy_and_the_clusters(tmp_path: Path, fakes: Fakes) -> None:
    file = _with_other_account(tmp_path / "who.json")
    with control_plane(tmp_path / "msk", credentials=file, start_cluster=fakes) as world:
        alice, eve = world.client(keys("alice")), world.client(keys("eve"))
        arn = create(alice)
        for call in (eve.describe_cluster_v2, eve.get_bootstrap_brokers, eve.delete_cluster):
            with pytest.raises(ClientError, match="AccessDenied"):
                call(ClusterArn=arn)
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": OTHER},
                    "Action": ["kafka:DescribeClusterV2", "kafka:CreateVpcConnection"],
                    "Resource": arn,
                }
            ],
        }
        alice.put_cluster_policy(ClusterArn=arn, Policy=json.dumps(policy))
        assert eve.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["ClusterName"] == "orders"
        assert eve.list_clusters_v2()["ClusterInfoList"] == []
        connection = {"VpcId": "vpc-1", "ClientSubnets": SUBNETS, "SecurityGroups": ["sg-1"]}
        with pytest.raises(ClientError, match="VPC connectivity isn't enabled"):
            eve.create_vpc_connection(TargetClusterArn=arn, Authentication="SASL_IAM", **connection)
        with pytest.raises(ClientError, match="AccessDenied"):
            eve.delete_cluster(ClusterArn=arn)


def test_the_topics_api_takes_kafka_cluster_actions_on_cluster_and_topic(tmp_path: Path, fakes: Fakes) -> None:
    only_connect = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "kafka-cluster:Connect", "Resource": "*"}],
    }
    file = credentials_file(tmp_path / "who.json", {"alice": [ALL], "dave": [only_connect]})
    with control_plane(tmp_path / "msk", credentials=file, start_cluster=fakes) as world:
        arn = create(world.client(keys("alice")))
        topic = arn.replace(":cluster/", ":topic/") + "/t"
        for name, action, resource in (
            ("alice", "kafka-cluster:Connect", arn),
            ("dave", "kafka-cluster:CreateTopic", topic),
        ):
            with pytest.raises(ClientError) as caught:
                world.client(keys(name)).create_topic(
                    ClusterArn=arn, TopicName="t", PartitionCount=1, ReplicationFactor=1
                )
            assert f"not authorized to perform: {action} on resource: {resource}" in str(caught.value)


def test_given_a_body_that_does_not_arrive_then_the_call_ends_and_the_server_goes_on(
    tmp_path: Path, fakes: Fakes
) -> None:
    with control_plane(tmp_path / "msk", start_cluster=fakes, body_timeout_s=0.2) as world:
        host = urllib.parse.urlsplit(world.url)
        with socket.create_connection((host.hostname, host.port), timeout=20) as slow:
            slow.sendall(b"POST /api/v2/clusters HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert world.client().list_clusters_v2()["ClusterInfoList"] == []


def test_given_a_disk_that_is_full_then_the_call_fails_and_nothing_has_changed(
    world: World, kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("broker.msk.state.write_atomically", full)
    with pytest.raises(ClientError) as caught:
        kafka.create_configuration(Name="a", ServerProperties=b"")
    assert _code(caught) == ("InternalServerErrorException", 500)
    assert "No space left" in str(caught.value)
    monkeypatch.undo()
    assert kafka.list_configurations()["Configurations"] == []
