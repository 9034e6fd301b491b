"""The manifests against Kubernetes' own schemas, and whether they fit together and to the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import kubernetes_validate
import pytest

from replicator.config.load import load
from replicator.http.access import Access
from replicator.http.api import Api
from replicator.http.refusals import Refusals
from replicator.http.server import application
from replicator.verbs.table import VERBS
from replicator.views.table import VIEWS
from tests.deploy.files import ROOT, read_yaml

FOLDER = ROOT / "deploy/kubernetes"
MANIFESTS = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
SECRETS = "/run/secrets/replicator"
VERSIONS = ("1.30", "1.33", "1.37")


def manifest(name: str) -> Any:
    return read_yaml(f"deploy/kubernetes/{name}.yaml")


POD = manifest("deployment")["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_given_a_manifest_when_it_is_held_against_kubernetes_schema_then_it_fits(name: str, version: str) -> None:
    kubernetes_validate.validate(read_yaml(f"deploy/kubernetes/{name}"), version, strict=True)


def test_given_a_misspelt_manifest_when_it_is_held_against_the_schema_then_it_is_refused() -> None:
    wrong = manifest("deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = CONTAINER["livenessProbe"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_given_the_kustomization_when_its_resources_are_listed_then_they_are_all_there_are() -> None:
    assert sorted(manifest("kustomization")["resources"]) == MANIFESTS


def test_given_the_manifests_when_their_selectors_are_compared_then_they_mean_these_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"] == labels


def test_given_the_probes_when_their_paths_are_looked_up_then_the_service_has_them() -> None:
    app = application(Api(Mock(), VIEWS, VERBS), Mock(), Access((), check_host=True), Refusals())
    served = {route.resource.canonical for route in app.router.routes() if route.resource}
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"/healthz", "/readyz"} <= served


def test_given_the_pod_when_its_rights_are_read_then_it_has_none_to_spare() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert f"USER {POD['spec']['securityContext']['runAsUser']}\n" in (ROOT / "Dockerfile").read_text()
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_given_the_configuration_when_it_is_loaded_with_its_secrets_then_the_pods_can_use_it(tmp_path: Path) -> None:
    for name in ("us-password", "eu-password", "token"):
        (tmp_path / name).write_text("secret")
    text = manifest("configmap")["data"]["replicator.yaml"]
    file = tmp_path / "replicator.yaml"
    file.write_text(text.replace(SECRETS, str(tmp_path)))
    settings = load(file, environ={})
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert mounts == {"configuration": "/etc/replicator", "secrets": SECRETS, "tmp": "/tmp"}
    assert settings.service.http.endswith(f":{CONTAINER['ports'][0]['containerPort']}")
