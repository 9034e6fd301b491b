"""Open monitoring over HTTP: for each broker an address of the JMX exporter, and one of the node exporter.

Nobody is asked who they are, as on MSK, where security groups say who may connect: bind it to where it may be read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from broker.metrics.exposition import CONTENT_TYPE, jmx, node_exporter
from broker.metrics.host import look
from broker.node import NodeState

if TYPE_CHECKING:
    from broker.cluster import Cluster

JMX_PORT, NODE_PORT = 11001, 11002  # MSK's
Place = tuple[str, int]


@contextlib.asynccontextmanager
async def serve_metrics(
    cluster: Cluster, jmx_at: Callable[[int], Place], node_at: Callable[[int], Place] | None = None
) -> AsyncIterator[dict[int, str]]:
    """Serve `/metrics` of every node until the context ends; gives the addresses of the first kind, by node.

    `jmx_at` and `node_at` say where a node's are; port 0 is any free one. Without `node_at` there is only the first,
    and the node exporter's is at `/node/metrics` there. Nodes that come later have theirs within a second. OSError if
    an address isn't free.
    """
    async with contextlib.AsyncExitStack() as stack:
        places: dict[int, str] = {}
        known: set[int] = set()
        ended = asyncio.Event()

        async def begin(node_id: int) -> None:
            known.add(node_id)
            places[node_id] = await stack.enter_async_context(_serve(_broker_app(cluster, node_id), jmx_at(node_id)))
            if node_at is not None:
                app = web.Application()
                app.router.add_get("/metrics", _machine(cluster))
                await stack.enter_async_context(_serve(app, node_at(node_id)))

        def begin_with_new_nodes() -> None:
            for node_id in () if ended.is_set() else cluster.nodes.keys() - known:
                known.add(node_id)
                cluster.spawn(begin(node_id), f"metrics of node {node_id}")

        for node_id in cluster.nodes:
            await begin(node_id)
        cluster.on_tick(begin_with_new_nodes)
        try:
            yield places
        finally:
            ended.set()  # the cluster may outlive this


@contextlib.asynccontextmanager
async def _serve(app: web.Application, place: Place) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, *place).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


def _broker_app(cluster: Cluster, node_id: int) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        node = cluster.nodes[node_id]
        if node.state is NodeState.STOPPED:  # its exporter would be gone with it
            return web.Response(status=503, text="the broker is stopped\n")
        await node.thawed.wait()
        return web.Response(body=jmx(cluster, node), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/node/metrics", _machine(cluster))
    return app


def _machine(cluster: Cluster) -> Callable[[web.Request], asyncio.Future[web.StreamResponse]]:
    async def metrics(request: web.Request) -> web.StreamResponse:
        host = await asyncio.to_thread(look, cluster.data_dir)
        return web.Response(body=node_exporter(host), headers={"Content-Type": CONTENT_TYPE})

    return metrics  # type: ignore[return-value]  # aiohttp takes any awaitable
