"""deploy/: what can be told of it without a container engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

DEPLOY = Path(__file__).parents[2] / "deploy"


def documents(name: str) -> list[Any]:
    return [one for one in yaml.safe_load_all((DEPLOY / name).read_text()) if one]


def test_every_deployment_names_a_flow_that_takes_its_parameters() -> None:
    for one in documents("prefect.yaml")[0]["deployments"]:
        flow = load_flow_from_entrypoint(one["entrypoint"])
        known = set(flow.parameters.properties)
        assert set(one.get("parameters", {})) <= known
        missing = set(flow.parameters.required) - set(one.get("parameters", {}))
        if not missing:
            flow.validate_parameters(one.get("parameters", {}))
        assert one["work_pool"]["name"] == "gristmill"


def test_no_service_is_open_beyond_loopback_or_without_a_password() -> None:
    (compose,) = documents("compose.yaml")
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        assert "latest" not in service["image"]
    for name in ("server", "services"):
        assert "GRISTMILL_PASSWORD:?" in compose["services"][name]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    assert documents("kubernetes/prefect-server.yaml")[0]["server"]["basicAuth"]["enabled"]


def test_no_file_holds_a_secret() -> None:
    for path in DEPLOY.rglob("*.y*ml"):
        for line in path.read_text().splitlines():
            found = re.match(r"(?i)\s*\w*(password|secret_access_key|auth_string): +\"?([^\"\s]+)", line)
            assert not found or "${" in found[2], f"{path.name}: {line}"


def test_what_runs_in_a_cluster_is_not_root_and_has_limits() -> None:
    for one in documents("kubernetes/workers.yaml"):
        pod = one.get("spec", {}).get("template", {}).get("spec")
        if pod:
            assert pod["securityContext"]["runAsNonRoot"]
            for container in pod["containers"]:
                assert container["resources"]["limits"]["memory"]
                assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert "USER gristmill" in (DEPLOY / "Dockerfile").read_text()


def test_compose_file_keeps_to_the_compose_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checker = pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema: it ships the schema")
    schema = Path(checker.__file__).parent / "builtin_schemas/vendor/compose-spec.json"
    (compose,) = documents("compose.yaml")
    jsonschema.validate(compose, json.loads(schema.read_bytes()))
    for name, service in compose["services"].items():
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name
        named = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert named <= set(compose["volumes"]), name


@pytest.mark.parametrize("version", ["1.30", "1.36"])
def test_manifests_keep_to_the_schemas_of_kubernetes(version: str) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate: it ships them")
    (cluster,) = documents("kubernetes/ray-cluster.yaml")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]} for group in groups]
    for one in [*documents("kubernetes/workers.yaml"), *pods]:
        kubernetes.validate(one, version, strict=True)


def test_versions_are_one_everywhere() -> None:
    """Server and workers must run one version of Prefect, nodes of Ray one of Ray: that of constraints.txt."""
    pins = dict(
        line.split("==", 1) for line in (DEPLOY.parent / "constraints.txt").read_text().splitlines() if "==" in line
    )
    (server,) = documents("kubernetes/prefect-server.yaml")
    assert server["global"]["prefect"]["image"]["prefectTag"].startswith(pins["prefect"] + "-")
    (cluster,) = documents("kubernetes/ray-cluster.yaml")
    assert cluster["spec"]["rayVersion"] == pins["ray"]


def test_dashboard_asks_for_metrics_that_there_are(tmp_path: Path) -> None:
    """Every series of the dashboard is one that a flow run counts, under the names that Prometheus gives them."""
    script = """
import sys
from flows.metrics import count_phase, count_split
count_split({"states": {"kept": 2, "quarantined": 1}, "rules": {"language/other": 1}, "bytes": 10}, 3)
count_phase("dedup", 1.0)
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
sys.stdout.buffer.write(generate_latest(registry))
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    counted = set(re.findall(r"^(gristmill_\w+)", done.stdout, re.MULTILINE))
    board = json.loads((DEPLOY / "grafana/gristmill.json").read_bytes())
    asked = {
        name for panel in board["panels"] for t in panel["targets"] for name in re.findall(r"gristmill_\w+", t["expr"])
    }
    assert asked
    assert asked <= counted
