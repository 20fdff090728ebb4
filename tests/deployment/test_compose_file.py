"""docker-compose.yml, stock.yml and the Dockerfile as they are written: what needs no engine to be seen."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from experiments.shipped import HOME as ROOT

Service = dict[str, Any]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Service] = FILE["services"]
STOCK: dict[str, Service] = yaml.safe_load((ROOT / "docker" / "stock.yml").read_text())["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["init"] is True
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pull_policy"] == "never"  # nobody else's image of that name
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 512
    assert service["logging"]["options"]["max-size"]
    assert not {"ports", "privileged", "devices", "pid", "ipc", "userns_mode"} & set(service)
    assert all(":size=" in mount for mount in service.get("tmpfs", []))


def test_only_the_copier_begins_as_root() -> None:
    assert [name for name, service in SERVICES.items() if "user" in service or "cap_add" in service] == [
        "results"
    ]
    assert SERVICES["results"]["cap_add"] == ["SETUID", "SETGID"]
    assert SERVICES["results"]["network_mode"] == "none"
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["fedsieve"]


def test_only_the_set_up_has_a_way_out() -> None:
    assert {name for name, network in FILE["networks"].items() if not network.get("internal")} == {"outside"}
    on = {name: set(service.get("networks", ())) for name, service in SERVICES.items()}
    assert [name for name, networks in on.items() if "outside" in networks] == ["setup"]
    assert on["node"] == on["malicious"] == {"fleet"}
    assert [name for name, networks in on.items() if "control" in networks] == ["superlink", "run"]


def test_what_stays_up_has_a_health_check_and_the_run_waits_for_it() -> None:
    assert {name for name, s in SERVICES.items() if "healthcheck" in s} == {"superlink", "node", "malicious"}
    waits = {
        name: {k: v["condition"] for k, v in s.get("depends_on", {}).items()} for name, s in SERVICES.items()
    }
    assert waits["run"]["superlink"] == "service_healthy"
    for name in ("superlink", "node", "malicious"):
        assert waits[name] == {"setup": "service_completed_successfully"}
    assert waits["results"] == {"run": "service_completed_successfully"}


def test_secrets_are_mounted_where_they_are_needed_alone() -> None:
    holders = {
        volume: {name for name, s in SERVICES.items() for v in s["volumes"] if v.split(":")[0] == volume}
        for volume in ("authority", "server", "honest", "malicious")
    }
    assert holders == {
        "authority": {"setup"},
        "server": {"setup", "superlink"},
        "honest": {"setup", "node", "run"},
        "malicious": {"setup", "malicious", "run"},
    }


def test_the_build_needs_no_front_end_from_elsewhere() -> None:
    assert not re.search(r"^#\s*syntax\s*=", DOCKERFILE, re.MULTILINE | re.IGNORECASE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE_IMAGE}"}
    assert "FLWR_TELEMETRY_ENABLED=0" in DOCKERFILE


def test_the_image_takes_a_base_with_a_digest_and_nothing_without_a_hash_but_torch() -> None:
    assert SERVICES["setup"]["build"]["args"]["BASE_IMAGE"].startswith("${BASE_IMAGE:-")
    assert re.search(r"^ARG BASE_IMAGE=", DOCKERFILE, re.MULTILINE)
    installs = re.findall(r"pip install (.*?)(?: && |\n[A-Z]|\Z)", DOCKERFILE.replace("\\\n", ""), re.DOTALL)
    assert len(installs) == 2
    assert all("torch==${TORCH}" in words or "--require-hashes" in words for words in installs)


def test_stock_nodes_change_the_program_and_nothing_of_the_hardening() -> None:
    assert set(STOCK) == {"node", "malicious"}
    for name, service in STOCK.items():
        assert service["command"] == [*SERVICES[name]["command"], "--stock"]
        assert set(service) == {"command", "tmpfs", "healthcheck"}
