"""An HTTP endpoint to break the cluster from outside: loopback only, JSON, no authentication, and not for browsers:
pages from elsewhere that somebody looks at here could send requests, too.

POST /nodes/{id}/stop | start | freeze | thaw
POST /elect    {"topic": "t", "partition": 0, "truncate_to": 10}     unclean election that cuts the log
POST /move     {"topic": "t", "partition": 0, "node": 1}             clean election
POST /faults   {"action": "fail|delay|drop|drop_response", "api": "Produce", "error": 6, "seconds": 1.5,
                "topic": null, "node": null, "client_id": null, "times": 1}    -> {"id": 1}
GET  /faults                                                          -> [{"id": 1, "hits": 0, ...}]
DELETE /faults                                                        remove them all
GET  /cluster                                                         nodes and their states, partitions
GET  /metrics/msk?name=NAME&level=LEVEL                               MSK's metrics (`metrics.remote`)
POST /reload                                                          read the cluster file again (`run --file`)
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from broker.errors import KafkaError
from broker.faults import Action, Fault
from broker.metrics.msk import Level
from broker.metrics.points import ClusterPoints

_MAX_NAMES = 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serve_control(
    cluster: Cluster, host: str, port: int, reload: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Serve until the context ends; gives the address. Raises ValueError for an address that isn't loopback.

    `reload` raises ValueError for what can't change while it runs.
    """
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"the control endpoint has no authentication: {host} is not a loopback address")
    runner = web.AppRunner(_Control(cluster, reload).app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][:2]
    finally:
        await runner.cleanup()


class _Control:
    def __init__(self, cluster: Cluster, reload: Callable[[], Awaitable[None]] | None) -> None:
        self._cluster = cluster
        self._reload_file = reload
        self._faults: list[Fault] = []
        self._points: dict[str, ClusterPoints] = {}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_not_for_browsers, _errors_as_json])
        app.router.add_post(r"/nodes/{id:\d+}/{verb:stop|start|freeze|thaw}", self._node)
        app.router.add_post("/elect", self._elect)
        app.router.add_post("/move", self._move)
        app.router.add_post("/faults", self._add_fault)
        app.router.add_get("/faults", self._list_faults)
        app.router.add_delete("/faults", self._clear_faults)
        app.router.add_get("/cluster", self._describe)
        app.router.add_post("/reload", self._reload)
        app.router.add_get("/metrics/msk", self._metrics)
        return app

    async def _node(self, request: web.Request) -> web.Response:
        node_id = int(request.match_info["id"])
        verbs = {
            "stop": self._cluster.stop_node,
            "start": self._cluster.start_node,
            "freeze": self._cluster.freeze_node,
            "thaw": self._cluster.thaw_node,
        }
        await verbs[request.match_info["verb"]](node_id)
        return web.json_response({"node": node_id, "state": self._cluster.nodes[node_id].state.value})

    async def _reload(self, request: web.Request) -> web.Response:
        if self._reload_file is None:
            raise ValueError("this cluster wasn't started from a file")
        await self._reload_file()
        return web.json_response({})

    async def _elect(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._cluster.elect_unclean(body["topic"], int(body["partition"]), int(body["truncate_to"]))
        return web.json_response({})

    async def _move(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._cluster.move_leader(body["topic"], int(body["partition"]), int(body["node"]))
        return web.json_response({})

    async def _add_fault(self, request: web.Request) -> web.Response:
        body = await request.json()
        faults = self._cluster.faults
        where: dict[str, Any] = {name: body.get(name) for name in ("topic", "node", "client_id")}
        where["times"] = body.get("times", 1)
        action = Action(body["action"])
        if action is Action.FAIL:
            fault = faults.fail(body["api"], ErrorCode(body["error"]), **where)
        elif action is Action.DELAY:
            fault = faults.delay(body["api"], float(body["seconds"]), **where)
        elif action is Action.DROP:
            fault = faults.drop(body["api"], **where)
        else:
            fault = faults.drop_response(body["api"], **where)
        self._faults.append(fault)
        return web.json_response({"id": len(self._faults)})

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"id": number, "action": fault.action.value, "api": fault.api, "topic": fault.topic, "hits": fault.hits}
                for number, fault in enumerate(self._faults, 1)
            ]
        )

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._cluster.faults.clear()
        self._faults.clear()
        return web.json_response({})

    async def _metrics(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        if name not in self._points and len(self._points) >= _MAX_NAMES:
            raise ValueError("too many names for one cluster")
        points = self._points.setdefault(name, ClusterPoints(self._cluster, name))
        return web.json_response(points.collect(Level[request.query.get("level", "DEFAULT")]))

    async def _describe(self, request: web.Request) -> web.Response:
        nodes = [
            {"id": node.node_id, "state": node.state.value, "ports": node.ports}
            for node in self._cluster.nodes.values()
        ]
        partitions = [
            {
                "topic": partition.topic.name,
                "partition": partition.index,
                "leader": partition.leader,
                "leader_epoch": partition.leader_epoch,
                "isr": partition.isr,
                "log_start_offset": partition.log.log_start_offset,
                "high_watermark": partition.log.high_watermark,
                "log_end_offset": partition.log.log_end_offset,
            }
            for partition in self._cluster.topics.partitions()
        ]
        return web.json_response({"id": self._cluster.cluster_id, "nodes": nodes, "partitions": partitions})


@web.middleware
async def _not_for_browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Browsers say where a page is from; and a name that isn't ours was made to lead here (DNS rebinding)."""
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
        return web.json_response({"error": "the control endpoint isn't for web pages"}, status=403)
    host = request.url.host or ""
    try:
        ours = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        ours = False
    if not ours:
        return web.json_response({"error": f"the control endpoint isn't called {host!r}: use its address"}, status=403)
    return await handler(request)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except KeyError as error:
        return web.json_response({"error": f"unknown or missing: {error}"}, status=404)
    except (ValueError, TypeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    except KafkaError as error:
        return web.json_response({"error": str(error), "code": int(error.code)}, status=409)
