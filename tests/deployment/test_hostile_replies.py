"""Hostile nodes on a real SuperLink: what they send is refused before it costs memory, and audited."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.proto import fleet_pb2 as fleet
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes

from client.app import app as client_app
from experiments.local_deployment import SUPERLINK
from experiments.processes import Process, free_ports, listening, wait_until
from tests.deployment import hostile
from tests.deployment.federation import Line, Place, lines, rounds
from tests.deployment.hostile import HostileNode
from transport.messages import failure

pytestmark = pytest.mark.deployment
DEADLINE_S = 6.0
MB = 1 << 20
PEAK_MB = 250.0
"""What a SuperLink or a ServerApp may take beyond what it had before the attack."""

Send = Callable[[HostileNode, Message], None]


class Peak(threading.Thread):
    """The most memory in MiB that the SuperLink and its descendants held, each for itself."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.over = pid, threading.Event()
        self.first: dict[int, float] = {}
        self.most: dict[int, float] = {}

    def run(self) -> None:
        while not self.over.wait(0.05):
            for pid in family(self.pid):
                with suppress(OSError, IndexError, ValueError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    held = int(status.partition("VmRSS:")[2].split()[0]) / 1024
                    self.most[pid] = max(held, self.most.get(pid, 0.0))

    def settle(self) -> None:
        """What is held now is what the attack is measured against."""
        self.first = dict(self.most)

    def grown(self) -> float:
        return max(self.most[pid] - self.first[pid] for pid in self.first)


def family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in family(int(child)))]


class Attack:
    """A run with an honest node and a hostile one, which sends its own reply in round 2."""

    def __init__(self, place: Place, *overrides: str) -> None:
        self.place = place
        self.plan = place.plan(1, 1, "attack.name=nan", f"strategy.deadline_s={DEADLINE_S}", *overrides)
        self.out = place.folder / "out"
        self.audit: list[Line] = []
        self.refused: list[str] = []

    def run(self, send: Send, node: HostileNode) -> float:
        """Do it; MiB that the SuperLink or the ServerApp grew by, from the attack on."""
        self.place.local.warm_node(self.plan.nodes[0])
        context = Context(1, node.id, {"path": self.plan.nodes[1]["path"]}, RecordDict(), {})
        submitted = self.place.local.submit(self.place.app, self.plan.run_config(self.out))
        peak = Peak(self.place.local.superlinks[0].popen.pid)
        peak.start()

        def answer(message: Message) -> None:
            kind, round_ = message.metadata.message_type, message.metadata.group_id
            if kind == "train" and round_ == "2":
                peak.settle()
                send(node, message)
            else:
                node.honest(client_app(message, context))

        self.refused = node.serve(answer, lambda: submitted.popen.poll() is None)
        peak.over.set()
        self.place.finish(submitted)
        self.audit = [e for e in lines(self.out / "audit.jsonl") if e["node"] == node.id]
        return peak.grown()

    def verdict(self) -> Line:
        """The one line of the audit about the hostile reply as a whole."""
        (line,) = [e for e in self.audit if e["round"] == 2 and e["device"] is None]
        assert line["verdict"] == "refused"
        return line

    def seconds(self) -> float:
        return max(float(line["seconds"]) for line in rounds(self.out))


def attacked(place: Place, send: Send, *overrides: str) -> tuple[Attack, float]:
    attack = Attack(place, "train.rounds=3", *overrides)
    node = HostileNode(place.local.fleet)
    try:
        return attack, attack.run(send, node)
    finally:
        node.close()


def test_a_chunk_named_many_times_costs_its_sender_the_round(place: Place) -> None:
    def bomb(node: HostileNode, message: Message) -> None:
        reply = hostile.empty(message)
        node.push(reply, *hostile.one_array(reply, MB, 600))

    attack, grown = attacked(place, bomb)
    assert attack.verdict()["reason"] == "oversize"
    assert "larger than" in attack.verdict()["detail"]
    assert attack.seconds() < DEADLINE_S
    assert grown < PEAK_MB


def test_a_reply_larger_than_what_was_asked_is_not_read(place: Place) -> None:
    def big(node: HostileNode, message: Message) -> None:
        reply = hostile.empty(message)
        node.push(reply, *hostile.one_array(reply, 20 * MB, 1))

    attack, grown = attacked(place, big)
    assert attack.verdict()["reason"] == "oversize"
    assert grown < PEAK_MB


@pytest.mark.parametrize("shape", ["laughing", "wide"])
def test_a_tree_without_end_is_refused_at_the_door(place: Place, shape: str) -> None:
    def send(node: HostileNode, message: Message) -> None:
        reply = hostile.empty(message)
        tree = hostile.laughing(22) if shape == "laughing" else hostile.wide(reply, 50_000)[0]
        node.push(reply, tree, {})

    attack, grown = attacked(place, send)
    assert len(attack.refused) == 1
    assert attack.refused[0].startswith("INVALID_ARGUMENT refused: ")
    late = attack.verdict()
    assert (late["reason"], late["detail"]) == ("failed", "'no reply by the deadline'")
    assert DEADLINE_S / 2 < late["seconds_held"] <= DEADLINE_S + 1
    assert attack.seconds() < DEADLINE_S + 4
    assert grown < PEAK_MB


def test_the_code_of_an_expired_message_is_believed_of_no_node(place: Place) -> None:
    def lie(node: HostileNode, message: Message) -> None:
        node.honest(failure(message, "expired, says the node", 3))

    attack, _ = attacked(place, lie)
    assert attack.verdict()["reason"] == "failed"
    assert "says the node" in attack.verdict()["detail"]
    assert attack.seconds() < DEADLINE_S


def test_the_door_itself(place: Place) -> None:
    """No compressed or huge message, no reply in another's name, no other node's key."""
    node = HostileNode(place.local.fleet)
    before = Peak(place.local.superlinks[0].popen.pid)
    before.start()
    plain = HostileNode(place.local.fleet)
    before.over.wait(0.3)
    before.settle()
    other = public_key_to_bytes(generate_key_pairs()[1])
    push = hostile.PushObjectRequest(node=node.node, object_content=bytes(300 * MB))
    packed = grpc.Compression.Gzip
    beat = fleet.PullMessagesRequest(node=node.node)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: node.stub.PushObject(push, compression=packed), "UNIMPLEMENTED"),
        (lambda: node.stub.PushObject(push), "RESOURCE_EXHAUSTED"),
        (
            lambda: node.stub.RegisterNode(fleet.RegisterNodeFleetRequest(public_key=other)),
            "INVALID_ARGUMENT",
        ),
        (
            lambda: node.stub.ActivateNode(
                fleet.ActivateNodeRequest(public_key=plain.key, heartbeat_interval=30)
            ),
            "INVALID_ARGUMENT",
        ),
    ]
    for call, code in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code().name == code, refused.value.details()
    assert not node.stub.PullMessages(beat).messages_list  # it is still served
    before.over.set()
    before.join()
    assert before.grown() < PEAK_MB
    node.close()
    plain.close()


def test_the_superlink_needs_no_path(tmp_path: Path) -> None:
    """As systemd starts it: a clean environment, programs by their full names."""
    ports = [f"127.0.0.1:{port}" for port in free_ports(3)]
    names = ("--fleet-api-address", "--control-api-address", "--serverappio-api-address")
    command = [*SUPERLINK, "--insecure", "--disable-runtime-dependency-installation"]
    command += [word for pair in zip(names, ports, strict=True) for word in pair]
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "FLWR_HOME": str(tmp_path)}
    clean |= {"PYTHONPATH": str(Path(__file__).parents[2]), "FLWR_TELEMETRY_ENABLED": "0"}
    log = tmp_path / "superlink.log"
    with log.open("wb") as out:
        popen = subprocess.Popen(
            command, env=clean, stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path, start_new_session=True
        )
    process = Process(popen, log)
    try:
        assert command[0] == sys.executable
        wait_until(lambda: listening(ports[0]), 30, process)
        wait_until(lambda: len(family(popen.pid)) > 1, 10, process)  # flower-superexec
    finally:
        process.stop()
