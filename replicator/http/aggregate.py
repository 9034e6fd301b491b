"""The face of a parent of several workers: asks each child over its unix socket, and answers for all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import aiohttp
import structlog

from replicator.errors import UnreachableError
from replicator.telemetry.merged import merged

log = structlog.get_logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=4.0)
_MAX_ANSWER_BYTES = 256 << 20


class AggregateService:
    """Merges what the children say. `children` maps a worker's name to its socket's path and may change meanwhile.

    Ready means every child is ready; a child that doesn't answer isn't. Metrics keep the children apart by the label
    `worker`. `restarts`, if given, counts how often each was started again; it changes meanwhile, too.
    """

    def __init__(self, children: Mapping[str, str], restarts: Mapping[str, int] | None = None) -> None:
        self._children = children
        self._restarts = restarts

    async def ready(self) -> tuple[bool, list[str]]:
        """Whether all children are; their reasons, each with the child's name."""
        answers = await self._ask("/readyz")
        reasons: list[str] = []
        for worker, answer in sorted(answers.items()):
            if answer is None:
                reasons.append(f"{worker}: doesn't answer")
                continue
            told = json.loads(answer)
            if not told["ready"]:
                reasons += [f"{worker}: {reason}" for reason in told["reasons"]] or [f"{worker}: isn't ready"]
        return not reasons and bool(answers), reasons or ([] if answers else ["no worker has started yet"])

    async def metrics(self) -> bytes:
        """All children's families in one exposition."""
        answers = await self._ask("/metrics")
        return await asyncio.to_thread(merged, answers, self._restarts)

    async def status(self) -> dict[str, object]:
        """One child's answer: it reads the clusters, and so tells of all workers and partitions."""
        error = "no worker answers yet"
        for worker, socket in sorted(self._children.items()):
            answer = await _get(worker, socket, "/v1/status")
            if answer is None:
                continue
            told = json.loads(answer)
            if "error" not in told:
                return dict(told)
            error = str(told["error"])
        raise UnreachableError(error)

    async def _ask(self, path: str) -> dict[str, str | None]:
        children = dict(self._children)
        texts = await asyncio.gather(*(_get(worker, socket, path) for worker, socket in children.items()))
        return dict(zip(children, texts, strict=True))


async def _get(worker: str, socket: str, path: str) -> str | None:
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=_TIMEOUT) as session,
            session.get(f"http://worker{path}") as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES:
                    return None
            return body.decode() if response.status in (200, 503) else None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        log.debug("worker doesn't answer", worker=worker, path=path, error=str(error))
        return None
