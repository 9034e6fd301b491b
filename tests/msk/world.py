"""A control plane for tests: in a thread of its own, asked through boto3 as by anybody."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from broker.msk.clusters.launcher import StartCluster
from broker.msk.clusters.process import ClusterProcess
from broker.msk.control_plane import ControlPlane
from broker.msk.settings import Settings
from tests.support.waiting import wait_for

ACCOUNT = "123456789012"
REGION = "us-east-1"
ROOT = {"AWS_ACCESS_KEY_ID": "AKIAROOTROOTROOTROOT", "AWS_SECRET_ACCESS_KEY": "root-secret"}
SUBNETS = ["subnet-0aaa", "subnet-0bbb", "subnet-0ccc"]


@dataclass
class FakeCluster:
    """A cluster process without a process: what would be asked of one is noted in `asked`."""

    file: Path
    asked: list[str] = field(default_factory=list)
    refuses_reload: bool = False
    control: str = "127.0.0.1:1"
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    hangs: bool = False
    down: dict[int, str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """The cluster file as it is now."""
        return dict(json.loads(self.file.read_text()))

    @property
    def bootstrap(self) -> dict[str, str]:
        """As a process would say."""
        content = self.content
        return {
            one["name"]: ",".join(f"{node['host']}:{one['port']}" for node in content["nodes"])
            for one in content["listeners"]
        }

    @property
    def running(self) -> bool:
        """Until it is stopped."""
        return not self.gone.is_set()

    async def ended(self) -> int:
        """Wait for the end."""
        await self.gone.wait()
        return -9

    async def stop(self) -> None:
        """End."""
        self.asked.append("stop")
        self.gone.set()

    def kill(self) -> None:
        """End at once."""
        self.asked.append("kill")
        self.gone.set()

    async def reload(self) -> None:
        """Take a new file."""
        from broker.msk.clusters.process import ReloadRefused

        if self.refuses_reload:
            raise ReloadRefused("listeners can't change while running")
        self.asked.append("reload")

    async def node(self, number: int, verb: str) -> None:
        """Do something to a node."""
        self.asked.append(f"{verb} {number}")
        if verb in ("start", "thaw"):
            self.down.pop(number, None)

    async def describe(self) -> dict[str, Any]:
        """All nodes run, but those in `down`, unless it hangs."""
        if self.hangs:
            raise OSError("the control port doesn't answer")
        return {
            "nodes": [
                {"id": node["id"], "state": self.down.get(node["id"], "running")} for node in self.content["nodes"]
            ],
            "partitions": [],
        }


class Fakes:
    """Starts fake clusters, and remembers them by their file."""

    def __init__(self) -> None:
        self.started: list[FakeCluster] = []
        self.fail_with: str | None = None
        self.fails_if: Callable[[dict[str, Any]], bool] = lambda content: False  # by its file
        self.go = asyncio.Event()  # starts wait for it; set unless a test clears it
        self.go.set()

    async def __call__(self, file: Path, logfile: Path) -> Any:
        """What `ClusterProcess.start` does."""
        from broker.msk.clusters.process import ProcessFailed

        await self.go.wait()
        if self.fail_with is not None:
            raise ProcessFailed(self.fail_with)
        made = FakeCluster(file)
        if self.fails_if(made.content):
            raise ProcessFailed("it doesn't start so")
        self.started.append(made)
        return made

    def latest(self, arn: str) -> FakeCluster:
        """The newest process of a cluster."""
        key = arn.rpartition("/")[2]
        return next(one for one in reversed(self.started) if one.file.parent.name == key)


class World:
    """A running control plane and what is needed to ask it."""

    def __init__(self, plane: ControlPlane, loop: asyncio.AbstractEventLoop) -> None:
        self.plane = plane
        self.loop = loop

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.plane.url

    def client(self, keys: Mapping[str, str] = ROOT, region: str = REGION, token: str | None = None) -> Any:
        """A boto3 client of the service."""
        return client(self.url, keys, region, token)

    def call(self, work: Callable[[], Any]) -> Any:
        """Run something in the control plane's loop."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


def client(url: str, keys: Mapping[str, str] = ROOT, region: str = REGION, token: str | None = None) -> Any:
    """A boto3 client that tries once, so that tests see the first answer."""
    return boto3.client(
        "kafka",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


@contextmanager
def control_plane(
    data: Path,
    *,
    credentials: Path | None = None,
    environment: Mapping[str, str] = ROOT,
    start_cluster: StartCluster = ClusterProcess.start,
    replicators: Any = None,
    strict: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **settings: Any,
) -> Iterator[World]:
    """A control plane until the block ends. `replicators`: `FakeReplicators`, from the start on."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control plane", daemon=True)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def make() -> ControlPlane:
        given = Settings(data=data, credentials=credentials, strict=strict, **settings)
        return ControlPlane(given, environment, now=now, start_cluster=start_cluster)

    try:
        plane = run(make())
        if replicators is not None:
            replicators.install(World(plane, loop))
        run(plane.__aenter__())
        try:
            yield World(plane, loop)
        finally:
            run(plane.__aexit__())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def provisioned(**changes: Any) -> dict[str, Any]:
    """The settings of a small cluster: three brokers, IAM."""
    return {
        "BrokerNodeGroupInfo": {"ClientSubnets": SUBNETS, "InstanceType": "kafka.m5.large"},
        "KafkaVersion": "3.6.0",
        "NumberOfBrokerNodes": 3,
        "ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}},
    } | changes


def create(kafka: Any, name: str = "orders", **changes: Any) -> str:
    """Create a cluster and wait until it is ACTIVE; its ARN."""
    arn = str(kafka.create_cluster_v2(ClusterName=name, Provisioned=provisioned(**changes))["ClusterArn"])
    wait_active(kafka, arn)
    return arn


def wait_active(kafka: Any, arn: str, within: float = 60) -> dict[str, Any]:
    """Wait until a cluster is ACTIVE; its description."""

    def active() -> dict[str, Any] | None:
        info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
        assert info["State"] == "ACTIVE", f"{info['State']} {info.get('StateInfo')}"
        return dict(info)

    found = wait_for(active, within=within, what=f"{arn} is ACTIVE")
    assert found is not None
    return found


def scram_password_is(password: str, user: dict[str, Any]) -> bool:
    """Whether a cluster file's user has this password: the file has what SCRAM keeps of it (RFC 5802)."""
    entry = user["keys"]["SCRAM-SHA-512"]
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(entry["salt"]), entry["iterations"])
    stored = hashlib.sha512(hmac.digest(salted, b"Client Key", "sha512")).digest()
    return base64.b64decode(entry["stored_key"]) == stored
