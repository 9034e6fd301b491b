"""Whatever is asked of any call, the answer has the service's shape, and is never a mistake of the control plane's."""

from __future__ import annotations

import http.client
import json
import random
import urllib.parse
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from broker.msk.model import Operation, service_model
from broker.msk.registry import HANDLERS
from broker.msk.shapes import Shape
from tests.msk.world import ROOT, Fakes, World, create, provisioned

ROUNDS = 8
STRANGE: list[Any] = [
    None, "", "x", "a" * 3000, "\x00", "é\u202e", 0, -1, 2**31, 2**63, 1.5, True, [], {}, [None], [[]], {"a": None},
    "../../etc/passwd", "arn:aws:kafka:us-east-1:123456789012:cluster/a/b", "*", "%2e%2e%2f", "${jndi:ldap://x}",
]  # fmt: skip


def _value(shape: Shape, dice: random.Random, depth: int = 0) -> Any:
    """Mostly of the right shape, now and then not."""
    if dice.random() < 0.12 or depth > 6:
        return dice.choice(STRANGE)
    if shape.type == "structure":
        return {
            name: _value(member.shape, dice, depth + 1)
            for name, member in shape.members.items()
            if member.location is None and (name in shape.required or dice.random() < 0.6)
        }
    if shape.type == "list":
        return [_value(shape.item[0], dice, depth + 1) for _ in range(dice.randint(0, 4))]
    if shape.type == "map":
        return {f"k{number}": _value(shape.item[0], dice, depth + 1) for number in range(dice.randint(0, 3))}
    if shape.type in ("integer", "long", "double"):
        return dice.choice([0, 1, 2, 3, 6, 15, 100, 10**6])
    if shape.type == "boolean":
        return dice.random() < 0.5
    if shape.enum:
        return dice.choice(shape.enum)
    return dice.choice(["3.6.0", "subnet-1", "sg-1", "kafka.m5.large", "All", "1", "name", "YT1i", "SASL_IAM"])


def _target(operation: Operation, arns: dict[str, str], dice: random.Random) -> str:
    parts = []
    for part in operation.path:
        if part.startswith("{"):
            value = dice.choice([arns.get(part[1:-1], "t"), arns["clusterArn"], str(dice.choice(STRANGE)) or "x"])
            part = urllib.parse.quote(value, safe="") or "x"
        parts.append(part)
    query = [
        (name, str(dice.choice(["1", "0", "101", "x", "", arns["clusterArn"]])))
        for name, member in operation.input.members.items()
        if member.location == "querystring" and dice.random() < 0.5
    ]
    return "/" + "/".join(parts) + ("?" + urllib.parse.urlencode(query) if query else "")


def _ask(
    connection: http.client.HTTPConnection, host: str, method: str, target: str, body: bytes
) -> tuple[int, Any, str]:
    request = AWSRequest(method, f"http://{host}{target}", data=body, headers={"Host": host})
    SigV4Auth(Credentials(*ROOT.values()), "kafka", "us-east-1").add_auth(request)
    connection.request(method, target, body, dict(request.headers.items()))
    response = connection.getresponse()
    return response.status, response.read(), response.headers.get("x-amzn-ErrorType", "")


@pytest.mark.parametrize("seed", [1, 2])
def test_given_random_requests_to_every_call_then_each_answer_is_one_of_the_services(
    world: World, kafka: Any, fakes: Fakes, seed: int
) -> None:
    dice = random.Random(seed)
    model = service_model()
    arns = {
        "clusterArn": create(kafka),
        "arn": kafka.create_configuration(Name="c", ServerProperties=b"")["Arn"],
    }
    arns["resourceArn"] = arns["clusterArn"]
    host = urllib.parse.urlsplit(world.url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    known = model.exceptions.keys() | {"UnknownOperationException", "InvalidSignatureException"}
    seen: dict[str, int] = {}
    for name in sorted(name for name in HANDLERS if "Topic" not in name):  # these would wait for brokers
        operation = model.operations[name]
        for _ in range(ROUNDS):
            target = _target(operation, arns, dice)
            body = b"" if operation.method == "GET" else json.dumps(_value(operation.input, dice)).encode()
            status, content, error = _ask(connection, host, operation.method, target, body)
            said = f"seed {seed}: {name} {target} {body[:500]!r}: {status} {content[:500]!r}"
            assert status < 500, said
            seen[error or "none"] = seen.get(error or "none", 0) + 1
            if status >= 400:
                assert error in known, said
                assert json.loads(content)["message"], said
    connection.close()
    assert seen["BadRequestException"] > 50, seen
    assert seen["none"] >= 10, seen
    assert kafka.list_clusters_v2()["ResponseMetadata"]["HTTPStatusCode"] == 200
    kafka.create_cluster_v2(ClusterName="after", Provisioned=provisioned())
