"""docker-compose.yml against the compose specification, and whether its parts fit together. Nothing is started."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from replicator.config.load import load
from tests.deploy.files import ROOT, read_yaml, tool

COMPOSE: dict[str, Any] = read_yaml("docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def content(name: str) -> str:
    """An inline configuration, without what compose fills in: Replicator fills in the same notation."""
    return str(COMPOSE["configs"][name]["content"])


def test_given_the_composition_when_it_is_held_against_the_specification_then_it_fits() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_given_the_composition_when_its_names_are_looked_up_then_all_of_them_are_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        assert {use["source"] for use in service.get("configs", ())} <= set(COMPOSE["configs"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source == "./dashboards", f"{name}: {source}"


def test_given_the_composition_when_its_ports_are_read_then_they_are_open_on_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_given_the_two_clusters_when_they_are_compared_then_each_has_an_id_and_addresses_of_its_own() -> None:
    environments = [SERVICES[name]["environment"] for name in ("us", "eu")]
    ids = [environment["CLUSTER_ID"] for environment in environments]
    assert ids[0] != ids[1]
    for text in ids:
        assert len(base64.urlsafe_b64decode(text + "==")) == 16
    for name, environment in zip(("us", "eu"), environments, strict=True):
        outside = SERVICES[name]["ports"][0].rpartition(":")[0]
        assert environment["KAFKA_ADVERTISED_LISTENERS"] == f"INSIDE://{name}:9092,OUTSIDE://{outside}"


def test_given_the_workers_when_their_configuration_is_loaded_then_it_is_a_link_between_the_two(tmp_path: Path) -> None:
    file = tmp_path / "replicator.yaml"
    file.write_text(content("replicator"))
    settings = load(file, environ={})
    assert [(link.source, link.target) for link in settings.links] == [("us", "eu")]
    for cluster in settings.clusters:
        assert settings.clusters[cluster].bootstrap_servers == f"{cluster}:9092"
    assert settings.service.token is not None


def test_given_the_workers_when_their_rights_are_read_then_they_have_none_to_spare() -> None:
    workers = [service for service in SERVICES.values() if service.get("image") == "replicator"]
    assert len(workers) == 2
    for worker in workers:
        assert worker["read_only"] is True
        assert worker["tmpfs"] == ["/tmp"]
        assert worker["cap_drop"] == ["ALL"]


def test_given_prometheus_file_when_promtool_reads_it_then_it_is_right(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(content("prometheus"))
    done = subprocess.run(
        [tool("promtool", "Debian's prometheus"), "check", "config", "--syntax-only", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_given_prometheus_and_grafana_when_their_files_are_read_then_they_know_the_workers_and_each_other() -> None:
    prometheus = yaml.safe_load(content("prometheus"))
    job = prometheus["scrape_configs"][0]
    targets = job["static_configs"][0]["targets"]
    assert {target.partition(":")[0] for target in targets} == {name for name in SERVICES if name.startswith("worker")}
    assert job["authorization"]["credentials"] in content("replicator")
    grafana = yaml.safe_load(content("grafana-datasources"))
    assert grafana["datasources"][0]["url"] == "http://prometheus:9090"
    provided = yaml.safe_load(content("grafana-dashboards"))["providers"][0]["options"]["path"]
    assert f"./dashboards:{provided}:ro" in SERVICES["grafana"]["volumes"]
