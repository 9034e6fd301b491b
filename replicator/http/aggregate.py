"""The face of a parent of several workers: asks each child over its unix socket, and answers for all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

import aiohttp
import structlog

from replicator.http.service import Links
from replicator.telemetry.merged import merged

log = structlog.get_logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=4.0)
_MAX_ANSWER_BYTES = 256 << 20


class AggregateService:
    """Merges what the children say. `children` maps a worker's name to its socket's path and may change meanwhile.

    Ready means every child is ready; a child that doesn't answer isn't. Metrics keep the children apart by the label
    `worker`. `restarts`, if given, counts how often each was started again; it changes meanwhile, too. `links` are
    those that the children run.
    """

    def __init__(
        self,
        children: Mapping[str, str],
        restarts: Mapping[str, int] | None = None,
        links: Callable[[], Links] = dict,
    ) -> None:
        self._children = children
        self._links = links
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

    def links(self) -> Links:
        """What the parent's own configuration says: it reads the clusters by itself, and so tells of all workers."""
        return self._links()

    async def counts(self) -> Mapping[str, tuple[int, int]]:
        """Sums of what the children have counted."""
        sums: dict[str, tuple[int, int]] = {}
        for answer in (await self._ask("/v1/counts")).values():
            for link, told in json.loads(answer or "{}").items():
                records, size = sums.get(link, (0, 0))
                sums[link] = records + told["records"], size + told["bytes"]
        return sums

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
