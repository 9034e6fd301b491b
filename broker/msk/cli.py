"""`replicator-broker msk`: the local stand-in for Amazon MSK."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="A local stand-in for Amazon MSK: the service's API on bundled brokers. Not for production.")


@app.callback()
def _root() -> None:
    """A local stand-in for Amazon MSK: the service's API on bundled brokers. Not for production."""


@app.command()
def serve(
    listen: Annotated[str, typer.Option(help="HOST:PORT of the API; port 0 means any free one.")] = "127.0.0.1:8440",
    data: Annotated[
        Path | None, typer.Option(help="Where state, certificates and logs are kept; left out: until it ends.")
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="JSON of access keys, identities with policies, and roles; read again when it changes."),
    ] = None,
    account: Annotated[str, typer.Option(help="The account of the credentials in the environment.")] = "123456789012",
    print_hosts: Annotated[
        bool, typer.Option("--print-hosts", help="Print the lines that /etc/hosts needs for MSK's host names.")
    ] = False,
    strict_msk: Annotated[
        bool, typer.Option("--strict-msk", help="Refuse updates that change nothing, as MSK does.")
    ] = False,
    metrics_namespace: Annotated[
        str, typer.Option(help="Where clusters' metrics go at the endpoint that AWS_ENDPOINT_URL_CLOUDWATCH names.")
    ] = "Replicator",
    verbose: Annotated[bool, typer.Option("--verbose", help="Log to stderr what happens.")] = False,
) -> None:
    """Serve the MSK API until SIGTERM or SIGINT. NOT FOR PRODUCTION: nothing is replicated among brokers.

    Requests must be signed by the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), who may do
    everything, or by those of --credentials, who may do what their policies allow. Prints its address once it serves.
    """
    from pydantic import ValidationError

    from broker.cli import _address
    from broker.msk.control_plane import SetupError
    from broker.msk.settings import Settings

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    host, port = _address(listen, "--listen")
    with contextlib.ExitStack() as stack:
        directory = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="local-msk-")))
        try:
            settings = Settings(
                data=directory.absolute(),
                credentials=credentials,
                account=account,
                strict=strict_msk,
                metrics_namespace=metrics_namespace,
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            option = "--" + str(wrong["loc"][0]).replace("_", "-")
            raise typer.BadParameter(f"{wrong['input']!r}: {wrong['msg']}", param_hint=option) from error
        try:
            asyncio.run(_serve(settings, host, port, print_hosts=print_hosts))
        except SetupError as error:
            print(f"replicator-broker msk: {error}", file=sys.stderr)
            raise typer.Exit(2) from error
        except OSError as error:
            print(f"replicator-broker msk: can't serve on {listen}: {error.strerror or error}", file=sys.stderr)
            raise typer.Exit(2) from error


async def _serve(settings: object, host: str, port: int, *, print_hosts: bool) -> None:
    from broker.msk.clusters.hosts_file import lines
    from broker.msk.control_plane import ControlPlane
    from broker.msk.records import ClusterRecord
    from broker.msk.settings import Settings

    assert isinstance(settings, Settings)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    def tell(record: ClusterRecord) -> None:
        print("\n".join(lines(record)), flush=True)

    async with ControlPlane(settings, os.environ, host=host, port=port) as plane:
        print(plane.url, flush=True)
        print(f"console: {plane.console_url}", file=sys.stderr, flush=True)
        if print_hosts:
            for record in plane.service.clusters.records:
                tell(record)
            plane.service.clusters.on_created.append(tell)
        await stopping.wait()
