"""`replicator-broker`: the bundled broker as a program."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
import resource
import signal
import ssl
import sys
from pathlib import Path
from typing import Annotated

import typer

from broker.cluster import Cluster
from broker.cluster_file import ClusterFileError
from broker.config_defs import InvalidConfig
from broker.file_cluster import FileCluster
from broker.metrics.exporters import FileExporters
from broker.msk.cli import app as msk_app
from broker.node import Listener
from broker.security.credentials import Credentials
from broker.security.sasl import SaslServer
from broker.security.tls import server_context

log = logging.getLogger(__name__)

app = typer.Typer(
    help="A small Kafka-compatible broker for tests and demos. Not for production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(msk_app, name="msk")


class Authorizers(enum.Enum):
    """Choices of --authorizer."""

    NONE = "none"
    ACL = "acl"


@app.callback()
def _root() -> None:
    """A small Kafka-compatible broker for tests and demos. Not for production."""


@app.command()
def run(
    listen: Annotated[str, typer.Option(help="HOST:PORT; node i listens on PORT+i, or on any free port when 0.")] = (
        "127.0.0.1:9092"
    ),
    nodes: Annotated[int, typer.Option(min=1, max=100, help="How many nodes the cluster has.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Where to keep the logs; in memory when left out.")] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, a Kafka broker property; may be repeated.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="HOST:PORT (loopback) of an HTTP endpoint that stops, freezes and breaks nodes.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of Prometheus metrics as MSK's open monitoring has them; node i's are at PORT+i, or at any "
            "free port when 0."
        ),
    ] = None,
    advertise: Annotated[str | None, typer.Option(help="The host name that clients are told; default: HOST.")] = None,
    sasl: Annotated[
        str | None, typer.Option(help="Mechanisms, comma-joined: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.")
    ] = None,
    user: Annotated[list[str] | None, typer.Option(help="NAME:PASSWORD of a user for --sasl; may be repeated.")] = None,
    authorizer: Annotated[
        Authorizers,
        typer.Option(
            help="acl: clients may do what ACLs allow them, and what isn't allowed is refused. Name those who may do "
            "everything with --config 'super.users=User:NAME;User:OTHER'."
        ),
    ] = Authorizers.NONE,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve TLS with this certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, unless it is in the same file.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="Demand client certificates signed by this authority.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="A cluster file (JSON) with nodes, listeners, users and all else, instead of the other options; read "
            "again on SIGHUP. Then the line that is printed is JSON.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log to stderr what happens.")] = False,
) -> None:
    """Run a cluster in this process until SIGTERM or SIGINT. NOT FOR PRODUCTION: nothing is replicated.

    Prints one line with the bootstrap addresses once it accepts connections.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    _allow_many_files()
    if file is not None:
        _run_file(file)
        return
    host, port = _address(listen, "--listen")
    sasl_server = _sasl(sasl, user or [])
    listener = Listener(
        host=host,
        port=port,
        name=("SASL_" if sasl_server else "") + ("SSL" if tls_cert else "PLAINTEXT"),
        ssl_context=_tls(tls_cert, tls_key, tls_ca),
        sasl=sasl_server is not None,
        advertised_host=advertise,
    )
    try:
        cluster = Cluster(
            nodes=nodes,
            listeners=[listener],
            config=_properties(config or []),
            data_dir=data,
            sasl=sasl_server,
            authorizer="acl" if authorizer is Authorizers.ACL else "none",
        )
    except InvalidConfig as error:
        raise typer.BadParameter(str(error), param_hint="--config") from error
    except (OSError, ValueError) as error:
        _fail(f"can't open {data}: {error}")
    try:
        exporters = _address(metrics, "--metrics") if metrics else None
        asyncio.run(_serve(cluster, _address(control, "--control") if control else None, exporters))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--control") from error
    except OSError as error:
        _fail(f"can't listen on {listen}: {error.strerror or error}")


def _run_file(path: Path) -> None:
    try:
        made = FileCluster(path)
    except (ClusterFileError, InvalidConfig) as error:
        raise typer.BadParameter(str(error), param_hint="--file") from error
    except (OSError, ssl.SSLError, ValueError) as error:
        _fail(f"{path}: {error}")
    try:
        asyncio.run(_serve_file(made))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="control") from error
    except OSError as error:
        _fail(f"{path}: can't listen: {error.strerror or error}")


async def _serve_file(made: FileCluster) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    exporters = FileExporters(made)

    async def reload() -> None:
        await made.reload()
        await exporters.follow()

    async def reload_quietly() -> None:
        try:
            await reload()
        except (ClusterFileError, OSError) as error:
            log.error("going on as before: %s", error)

    loop.add_signal_handler(signal.SIGHUP, lambda: made.cluster.spawn(reload_quietly(), "reload"))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(made.cluster)
        ready: dict[str, object] = {"bootstrap": made.bootstrap()}
        if made.file.control is not None:
            from broker.control import serve_control

            address = _address(made.file.control, "control")
            host, port = await stack.enter_async_context(serve_control(made.cluster, *address, reload=reload))
            ready["control"] = f"{host}:{port}"
        stack.push_async_callback(exporters.close)
        await exporters.follow()
        if exporters.places:
            ready["metrics"] = exporters.places
        print(json.dumps(ready), flush=True)
        await stopping.wait()


async def _serve(cluster: Cluster, control: tuple[str, int] | None, exporters: tuple[str, int] | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(cluster)
        if control is not None:
            from broker.control import serve_control

            await stack.enter_async_context(serve_control(cluster, *control))
        if exporters is not None:
            from broker.metrics.server import serve_metrics

            host, port = exporters

            def place(node_id: int) -> tuple[str, int]:
                return host, port + node_id if port else 0

            where = await stack.enter_async_context(serve_metrics(cluster, place))
            log.info("metrics at %s", ", ".join(f"http://{address}/metrics" for address in where.values()))
        print(cluster.bootstrap, flush=True)
        await stopping.wait()


def _allow_many_files() -> None:
    """Raise the limit of open files as far as we may: every segment on disk and every connection needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _address(text: str, option: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT", param_hint=option)
    return host.strip("[]"), int(port)


def _properties(items: list[str]) -> dict[str, str]:
    out = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{item!r} is not KEY=VALUE", param_hint="--config")
        out[name.strip()] = value.strip()
    return out


def _sasl(mechanisms: str | None, users: list[str]) -> SaslServer | None:
    if mechanisms is None:
        if users:
            raise typer.BadParameter("users are only asked for with --sasl", param_hint="--user")
        return None
    passwords = {}
    for number, item in enumerate(users, start=1):
        name, separator, password = item.partition(":")
        if not separator or not name or not password:  # the text stays out of the message: it may be a password
            raise typer.BadParameter(f"the value of --user number {number} is not NAME:PASSWORD", param_hint="--user")
        passwords[name] = password
    if not passwords:
        raise typer.BadParameter("at least one --user NAME:PASSWORD is needed", param_hint="--sasl")
    try:
        return SaslServer([name.strip() for name in mechanisms.split(",")], Credentials(passwords))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sasl") from error


def _tls(certificate: Path | None, key: Path | None, authority: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None or authority is not None:
            raise typer.BadParameter("a certificate is needed", param_hint="--tls-cert")
        return None
    try:
        return server_context(certificate, key, authority)
    except (OSError, ssl.SSLError) as error:
        raise typer.BadParameter(f"can't be used: {error}", param_hint="--tls-cert") from error


def _fail(message: str) -> None:
    print(f"replicator-broker: {message}", file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
