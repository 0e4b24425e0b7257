"""deploy/: what can be told of it without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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
