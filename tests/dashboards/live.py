"""A running pair that makes work of every kind, and a Prometheus that watches it."""

from __future__ import annotations

import json
import math
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from confluent_kafka import Producer

from tests.dashboards.files import RULES, Query, filled_in, tool
from tests.support.bundled import BundledCluster
from tests.support.groups import commit
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports

Series = list[dict[str, Any]]


class Prometheus:
    """Debian's, scraping one address often, with our rules; a context manager that doesn't wait for it to be ready."""

    def __init__(self, directory: Path, scraped: str) -> None:
        self._directory = directory
        self._address = f"127.0.0.1:{free_ports(1)[0]}"
        self._file = directory / "prometheus.yml"
        scraping = {"job_name": "replicator", "static_configs": [{"targets": [scraped]}]}
        self._file.write_text(yaml.safe_dump({
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(RULES)],
            "scrape_configs": [scraping],
        }))  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        arguments = [f"--config.file={self._file}", f"--storage.tsdb.path={self._directory / 'tsdb'}"]
        arguments += [f"--web.listen-address={self._address}", "--log.level=warn"]
        with (self._directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [tool("prometheus"), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
            )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer; AssertionError for an answer that says error, and while it is starting."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        except OSError as error:
            raise AssertionError(str(error)) from None
        assert answer["status"] == "success", answer
        return answer["data"]

    def answers(self, query: Query, now_s: float, **variables: str) -> Series:
        """What a panel gets, over the last half minute or now; only series with a number in them."""
        text = filled_in(query.text, __rate_interval="10s", **variables)
        if query.instant:
            found = self.get("query", query=text, time=str(now_s))["result"]
            return [series for series in found if not math.isnan(float(series["value"][1]))]
        found = self.get("query_range", query=text, start=str(now_s - 30), end=str(now_s), step="1")["result"]
        return [series for series in found if any(not math.isnan(float(value)) for _, value in series["values"])]


class Clients:
    """Writes records to a topic in transactions, whose markers aren't copied, and moves a group; until it is left."""

    def __init__(self, source: BundledCluster, topic: str, partitions: int, group: str) -> None:
        self._source, self._topic, self._partitions, self._group = source, topic, partitions, group
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(30)
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error

    def _write(self) -> None:
        producer = Producer({**self._source.client_config, "transactional.id": "clients"})
        producer.init_transactions(30)
        count = 0
        while not self._over.wait(0.3):
            producer.begin_transaction()
            for partition in range(self._partitions):
                producer.produce(self._topic, b"v%d" % count, b"k", partition)
            producer.commit_transaction(30)
            count += 1
            commit(self._source, self._group, {(self._topic, 0): count})
