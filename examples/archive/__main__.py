"""`python -m examples.archive archive.yaml`: archive until SIGTERM or Ctrl-C; `--once`: what is there now."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import KafkaException
from prometheus_client import start_http_server

from examples.archive.archiver import Archiver
from examples.archive.counters import Counters
from examples.archive.decoding import decoders
from examples.archive.errors import ArchiveError
from examples.archive.settings import Settings
from examples.archive.store import Store, s3_client

_WENT_WRONG = 1


def main() -> int:
    """Exit codes: 0 done, 1 something went wrong, 2 the settings can't be used."""
    parser = argparse.ArgumentParser(prog="python -m examples.archive", description=__doc__)
    parser.add_argument("settings", type=Path, help="YAML file")
    parser.add_argument("--once", action="store_true", help="end when all that is there now is archived")
    arguments = parser.parse_args()
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    counters = Counters()
    try:
        settings = Settings.load(arguments.settings)
        if settings.metrics_port is not None:
            start_http_server(settings.metrics_port, addr="127.0.0.1", registry=counters.registry)
        store = Store(s3_client(settings.store), settings.store)
        archiver = Archiver(settings, store, decoders(settings), counters)
        archiver.run(stopped.is_set, until_end=arguments.once)
    except ArchiveError as error:
        print(f"archive: {error}", file=sys.stderr)
        return error.exit_code
    except (ClientError, BotoCoreError) as error:
        print(f"archive: object store: {error}; what was open is read again at the next start", file=sys.stderr)
        return _WENT_WRONG
    except KafkaException as error:
        print(f"archive: Kafka: {error}; what was open is read again at the next start", file=sys.stderr)
        return _WENT_WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
