"""The control plane put together: service, credentials, HTTP face.

async with ControlPlane(Settings(data=directory), os.environ) as plane:
    boto3.client("kafka", endpoint_url=plane.url)
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from aiohttp import web

from broker.msk import api
from broker.msk.clusters.launcher import StartCluster
from broker.msk.clusters.process import ClusterProcess
from broker.msk.console.face import Console
from broker.msk.credentials import Credentials, CredentialsError
from broker.msk.server import Server
from broker.msk.service import Service
from broker.msk.settings import Settings
from broker.msk.state import StateError

log = logging.getLogger(__name__)
_ = api  # its operations register themselves


class SetupError(Exception):
    """It can't start as it is set up; the text says what to change."""


class ControlPlane:
    """Serves from `async with` until it ends. Raises SetupError, OSError."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        start_cluster: StartCluster = ClusterProcess.start,
    ) -> None:
        self._lock = _lock(settings.data)
        try:
            self.service = Service(settings, now=now, environment=environment, start_cluster=start_cluster)
            credentials = Credentials(settings, environment, self.service.credentials_file, now)
        except (StateError, CredentialsError, ValueError) as error:
            os.close(self._lock)
            raise SetupError(str(error)) from error
        self.service.credentials = credentials.store
        self.console = Console(settings.account)
        self._runner = web.AppRunner(
            Server(self.service, credentials.authenticate, credentials.judge, self.console).app(),
            access_log=None,
            handle_signals=False,
            lingering_time=1.0,  # for what a refused body still sends
            shutdown_timeout=5.0,
        )
        self._address = host, port

    @property
    def url(self) -> str:
        """Where it serves."""
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def console_url(self) -> str:
        """Where its web console is, with the token that opens it."""
        return f"{self.url}{self.console.path}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._address).start()
            await self.service.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self.service.stop()
        os.close(self._lock)


def _lock(data: Path) -> int:
    """Hold the directory: two control planes on it would run each cluster twice, on the same data."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SetupError(f"another control plane uses {data}: end it, or choose another --data") from error
    return descriptor
