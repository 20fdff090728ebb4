"""docker/kubernetes: schemas, references, hardening, who reaches whom, commands that our own parsers take."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from flwr.common.config import parse_config_args

from attacks.app import read_attacker
from common.settings import from_flat
from experiments import cli
from experiments.flower_config import OWN, defaults
from experiments.shipped import HOME as ROOT

FOLDER = ROOT / "docker" / "kubernetes"
OVERLAYS = ("base", "malicious", "run")
SCHEMAS = "1.32"
Object = dict[str, Any]


def rendered(name: str) -> list[Object]:
    """What ``kubectl kustomize`` makes of a folder, as far as these use it: resources and images."""
    found = yaml.safe_load((FOLDER / name / "kustomization.yaml").read_text())
    assert set(found) == {"apiVersion", "kind", "resources", "images"}
    objects: list[Object] = []
    for resource in found["resources"]:
        path = FOLDER / name / resource
        text = None if path.is_dir() else path.read_text()
        objects += rendered(path.resolve().name) if text is None else yaml.safe_load_all(text)
    (image,) = found["images"]
    for _, container in containers(objects):
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"
    return objects


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for one in objects:
        if one["kind"] in ("StatefulSet", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for name, pod in pods(objects):
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            yield f"{name}/{container['name']}", container


def of(objects: list[Object], kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


EVERYTHING = [*rendered("malicious"), *rendered("run")]
CONTAINERS = dict(containers(EVERYTHING))


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="SCHEMAS NOT CHECKED: kubernetes-validate is not installed",
)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_fits_the_schema_of_kubernetes(name: str) -> None:
    import kubernetes_validate

    for one in rendered(name):
        kubernetes_validate.validate(one, SCHEMAS, strict=True)
    broken = {**one, "spec": {**one["spec"], "backofLimit": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, SCHEMAS, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="RENDERING NOT COMPARED: there is no kubectl")
@pytest.mark.parametrize("name", OVERLAYS)
def test_kubectl_renders_the_same(name: str) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", FOLDER / name], capture_output=True, text=True, timeout=120, check=True
    )

    def ordered(objects: Any) -> list[Object]:
        return sorted(objects, key=lambda one: (one["kind"], one["metadata"]["name"]))

    assert ordered(yaml.safe_load_all(made.stdout)) == ordered(rendered(name))


def test_everything_is_in_the_namespace_that_demands_hardening() -> None:
    (space,) = of(EVERYTHING, "Namespace").values()
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"].get("namespace", "fedsieve") for one in EVERYTHING} == {space["metadata"]["name"]}


@pytest.mark.parametrize("name", [name for name, _ in pods(EVERYTHING)])
def test_pods_are_an_ordinary_user_without_a_token_of_the_cluster(name: str) -> None:
    spec = dict(pods(EVERYTHING))[name]["spec"]
    user = spec["securityContext"]
    assert user["runAsNonRoot"] is True
    assert user["runAsUser"] == user["runAsGroup"] == user["fsGroup"] == 10001
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert "useradd --uid 10001 --gid 10001" in dockerfile
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {kind for volume in spec["volumes"] for kind in volume} <= {
        "name",
        "secret",
        "configMap",
        "emptyDir",
    }
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_as_hardened_as_those_of_compose(name: str) -> None:
    container = CONTAINERS[name]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["limits"])
    assert container["image"] == "registry.example.org/fedsieve:0.1.0"
    wide = [m["name"] for m in container["volumeMounts"] if not m.get("readOnly")]
    assert set(wide) <= {"tmp", "state", "log"}
    assert name.endswith("/log") or "log" not in wide  # the node itself only reads its log


def test_names_that_refer_to_each_other_exist() -> None:
    made = {kind: set(of(EVERYTHING, kind)) for kind in ("Service", "ConfigMap")}
    text = (ROOT / "docs" / "deployment.md").read_text()
    made["ConfigMap"] |= set(re.findall(r"create configmap ([\w-]+)", text))
    secrets = set(re.findall(r"create secret generic ([\w-]+)", text))
    used = set[str]()
    for _, pod in pods(EVERYTHING):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for volume in volumes.values():
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets
                used.add(volume["secret"]["secretName"])
            if "configMap" in volume:
                assert volume["configMap"]["name"] in made["ConfigMap"]
    assert used == secrets
    for name, one in of(EVERYTHING, "StatefulSet").items():
        spec, labels = one["spec"], one["spec"]["template"]["metadata"]["labels"]
        assert spec["serviceName"] in made["Service"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
        known = claims | {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
        mounted = {
            m["name"] for n, c in CONTAINERS.items() if n.startswith(name + "/") for m in c["volumeMounts"]
        }
        assert mounted == known
    for service in of(EVERYTHING, "Service").values():
        assert any(
            service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            for _, pod in pods(EVERYTHING)
        )


def selects(selector: Object, labels: dict[str, str]) -> bool:
    matches = selector.get("matchLabels", {}).items() <= labels.items()
    for term in selector.get("matchExpressions", []):
        assert term["operator"] == "NotIn"
        matches = matches and labels.get(term["key"]) not in term["values"]
    return bool(matches)


def allowed(side: str, own: dict[str, str], other: dict[str, str], port: int) -> bool:
    """Whether the policies let a pod with labels ``own`` have ``other`` on its ``side`` at ``port``."""
    key, peer = ("ingress", "from") if side == "Ingress" else ("egress", "to")
    chosen = [
        policy["spec"]
        for policy in of(EVERYTHING, "NetworkPolicy").values()
        if side in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], own)
    ]
    assert chosen, "a pod that no policy selects may talk to all the world"
    return any(
        "namespaceSelector" not in one
        and selects(one["podSelector"], other)
        and port in [p["port"] for p in rule["ports"]]
        for spec in chosen
        for rule in spec.get(key, [])
        for one in rule[peer]
    )


def test_nodes_reach_the_fleet_api_alone_and_only_the_run_reaches_the_control_api() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(EVERYTHING)}
    open_ways = {
        (one, other, port)
        for one, other in itertools.permutations(labels, 2)
        for port in (9091, 9092, 9093)
        if allowed("Egress", labels[one], labels[other], port)
        and allowed("Ingress", labels[other], labels[one], port)
    }
    assert open_ways == {
        ("node", "superlink", 9092),
        ("malicious", "superlink", 9092),
        ("run", "superlink", 9093),
    }


def test_a_node_sees_its_own_key_alone() -> None:
    for name in ("node", "malicious"):
        container = CONTAINERS[f"{name}/node"]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "keys"]
        assert mount["subPathExpr"] == "$(POD_NAME)"
        (env,) = [e for e in container["env"] if e["name"] == "POD_NAME"]
        assert env["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        assert f"--key={mount['mountPath']}" in container["args"]
    assert "keys" not in {
        m["name"] for c in ("superlink/superlink", "run/run") for m in CONTAINERS[c]["volumeMounts"]
    }


def test_malicious_nodes_are_the_honest_ones_with_an_attack() -> None:
    honest, bad = (of(EVERYTHING, "StatefulSet")[name]["spec"] for name in ("node", "malicious"))
    own = bad["template"]["spec"]["containers"][0]["args"]
    options = [arg for arg in own if arg.startswith("--node-config=")]
    attacker = read_attacker(parse_config_args([options[0].partition("=")[2]]))
    assert attacker is not None
    assert attacker.names == ("50",)
    own.remove(options[0])
    text = yaml.safe_dump({**honest, "replicas": 0}).replace("node-keys", "malicious-keys")
    text = text.replace("app: node", "app: malicious").replace("serviceName: node", "serviceName: malicious")
    assert yaml.safe_load(text) == {**bad, "replicas": 0}
    own.append(options[0])


def parsed(command: Any, words: list[str]) -> Object:
    """The parameters of a command, through all its groups. Raises UsageError for what it does not take."""
    context = command.make_context("x", list(words), resilient_parsing=False)
    while hasattr(context.command, "commands"):
        rest = [*context._protected_args, *context.args]
        _, sub, rest = context.command.resolve_command(context, rest)
        context = sub.make_context("x", rest, parent=context)
    return dict(context.params)


@pytest.mark.parametrize("name", [n for n, c in CONTAINERS.items() if "experiments.cli" in str(c)])
def test_commands_are_ones_that_fedsieve_takes(name: str) -> None:
    container = CONTAINERS[name]
    if container["command"] == ["sh", "-c"]:
        words = container["args"][0].removeprefix("exec python -m experiments.cli ").split()
    else:
        assert container["command"] == ["python", "-m", "experiments.cli"]
        words = container["args"]
    found = parsed(typer.main.get_command(cli.app), words)
    values = [one for value in found.values() for one in (value if isinstance(value, tuple) else [value])]
    files = [Path(str(value)) for value in values if str(value).startswith("/")]
    mounts = [Path(m["mountPath"]) for m in container["volumeMounts"]]
    assert files
    assert all(any(file.is_relative_to(mount) for mount in mounts) for file in files)


def test_the_run_is_one_that_flower_and_the_settings_take() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        from flwr.cli.app import app as flwr

        command = typer.main.get_command(flwr)
    container, files = CONTAINERS["run/run"], of(EVERYTHING, "ConfigMap")["run"]["data"]
    assert container["command"] == ["flwr"]
    found = parsed(command, container["args"])
    assert found["superlink"] in tomllib.loads(files["config.toml"])["superlink"]
    assert (container["env"], found["app"]) == ([{"name": "FLWR_HOME", "value": "/run"}], "/app")
    nested = tomllib.loads(files["run.toml"])
    flat = {k: v for k, v in nested.items() if not isinstance(v, dict)}
    flat |= {
        f"{group}.{k}": v
        for group, inner in nested.items()
        if isinstance(inner, dict)
        for k, v in inner.items()
    }
    assert set(flat) <= set(defaults())
    config = from_flat({k: v for k, v in {**defaults(), **flat}.items() if k not in OWN})
    assert config.strategy.wait_nodes == of(EVERYTHING, "StatefulSet")["node"]["spec"]["replicas"]
    mounts = [m["mountPath"] for m in CONTAINERS["superlink/superlink"]["volumeMounts"]]
    assert str(Path(config.data.path).parent) in mounts
    assert str(Path(str(flat["out"])).parent) in mounts
