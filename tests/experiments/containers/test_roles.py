"""The roles of the containers without containers: claims, children, results, and the command line."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from common.errors import RunError
from common.logs import bare
from common.printable import LONGEST
from experiments.containers import conduct, replica, superlink
from experiments.containers.__main__ import main
from experiments.containers.conduct import NEWS, settled
from experiments.containers.places import CONTROL_HOST, FLEET_HOST, Places
from experiments.containers.prepare import prepare
from experiments.containers.replica import Slots
from experiments.containers.results import Node, Trust, become_owner, deliver, show_trust, trust
from experiments.containers.superlink import supervise
from tests.common.hostile_text import ATTACKS, FORGED, HOSTILE, check_harmless
from transport.link import Pulse


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "state", tmp_path / "results", tmp_path / "runs")
    for folder in (made.root, made.results, made.runs, made.public, made.authority, made.server):
        folder.mkdir(parents=True, exist_ok=True)
    return made


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestChildren:
    def test_its_useful_lines_pass_and_its_status_is_told(self) -> None:
        code = "print('INFO : chatter'); print('INFO : round 1'); print('\\033[91mERROR\\033[0m: x'); exit(3)"
        told: list[str] = []
        assert supervise([sys.executable, "-c", code], threading.Event(), told.append, "round") == 3
        assert told == ["INFO : round 1", "ERROR: x"]

    def test_stopped_it_ends_even_when_it_does_not_want_to(self) -> None:
        code = (
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        )
        stop, told = threading.Event(), list[str]()

        def tell(line: str) -> None:
            told.append(line)
            stop.set()

        began = time.monotonic()
        assert supervise([sys.executable, "-c", code], stop, tell, patience_s=0.2) == 0
        assert time.monotonic() - began < 30
        assert told == ["up"]

    def test_what_a_stranger_wrote_is_escaped_and_cut(self, tmp_path: Path) -> None:
        text = HOSTILE.replace("\n", " ") + ATTACKS["huge"] + "\nend \xff"
        (tmp_path / "text").write_bytes(text.encode() + b"\xff")
        code = f"import sys; sys.stdout.buffer.write(open({str(tmp_path / 'text')!r}, 'rb').read())"
        told: list[str] = []
        assert supervise([sys.executable, "-c", code], threading.Event(), told.append) == 0
        first, second = told  # a carriage return or a separator ends no line
        check_harmless(first, LONGEST + 50)
        assert second == "end \xff\ufffd"

    def test_a_line_inside_a_line_is_no_news(self) -> None:
        assert not NEWS.search(f"INFO : node 3 says {FORGED.removeprefix('INFO :      ')}")

    def test_what_flower_prints_is_sifted(self) -> None:
        keep = [
            "INFO :      round 3 of 9: 8 of 8",
            "ERROR :  x",
            "WARNING : y",
            "INFO : waiting for nodes: 1 of 2",
        ]
        drop = ["Using SuperLink: compose (a:1)", "Successfully started run 12", "INFO : finished: all"]
        assert [bool(NEWS.search(line)) for line in keep + drop] == [True] * 4 + [False] * 3
        assert bare(keep[0]) == "round 3 of 9: 8 of 8"
        assert bare(keep[1]) == keep[1]


class TestClaims:
    def test_replicas_are_counted_once_no_more_come(self, places: Places) -> None:
        held = [Slots(places.side(side) / "slots") for side in ("honest", "honest", "malicious")]
        assert [slots.claim("x") for slots in held] == [0, 1, 0]
        late = Slots(places.side("honest") / "slots")
        timer = threading.Timer(0.3, lambda: late.claim("y"))
        timer.start()
        found = settled(places, threading.Event(), settle_s=1.0)
        timer.join()
        assert found == {"honest": [0, 1, 2], "malicious": [0]}

    def test_without_honest_replicas_it_says_so(
        self, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conduct, "LIMIT_S", 0.3)
        with pytest.raises(RunError, match="--scale node=N"):
            settled(places, threading.Event(), settle_s=0.1)

    def test_a_claim_makes_a_key_that_stays(self, places: Places) -> None:
        slots = Slots(places.side("honest") / "slots")
        assert replica.claim(slots, places, "honest") == 0
        key = replica.key_file(places, "honest", 0)
        before = key.read_bytes()
        slots.release(0)
        assert replica.claim(Slots(places.side("honest") / "slots"), places, "honest") == 0
        assert key.read_bytes() == before

    def test_a_spare_takes_over_when_another_dies(self, places: Places) -> None:
        folder = places.side("honest") / "slots"
        holder, spare, stop, out = Slots(folder), Slots(folder), threading.Event(), console()
        assert holder.claim("a") == 0
        threading.Timer(0.5, lambda: holder.release(0)).start()
        assert replica._spare(spare, {0: {}}, out, stop) == 0
        assert "waits in case another one dies" in said(out)

    def test_a_refusal_is_one_line(self) -> None:
        text = (
            '<_InactiveRpcError\n details = "{"code": 2004, "public_message": "No such node.", "x": null}"\n>'
        )
        record = logging.makeLogRecord({"msg": "%s\n%s", "args": (text, text)})
        assert replica.brief(record)
        assert record.getMessage() == "the SuperLink says: No such node."
        plain = logging.makeLogRecord({"msg": "as it is %d", "args": (1,)})
        assert replica.brief(plain)
        assert plain.getMessage() == "as it is 1"

    def test_claiming_imports_nothing_slow(self) -> None:
        code = "import sys, experiments.containers.replica; print({'torch', 'flwr'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestWatching:
    @pytest.mark.parametrize(("port", "address"), [("9464", "10.0.0.2:9464"), ("", None)])
    def test_metrics_are_served_on_the_network_of_the_operator_alone(
        self, port: str, address: str | None, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hosts = {FLEET_HOST: "10.0.0.1", CONTROL_HOST: "10.0.0.2"}
        found: list[str | None] = []

        def child(*_: object) -> int:
            found.append(os.environ.get("FEDSIEVE_METRICS"))
            return 0

        monkeypatch.setattr(superlink, "_address", hosts.__getitem__)
        monkeypatch.setattr(superlink, "supervise", child)
        monkeypatch.setattr(superlink, "ending", lambda *_: threading.Event())
        monkeypatch.setattr(os, "environ", {"METRICS_PORT": port})
        assert superlink.serve_superlink(places, console()) == 0
        assert found == [address]

    @pytest.mark.parametrize("stock", [False, True])
    def test_a_warm_replica_is_not_ready_before_it_is_connected(
        self, stock: bool, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        places.plan("honest").parent.mkdir()
        places.plan("honest").write_text(json.dumps({"0": {"data": "synthetic"}}))
        places.certificate.write_bytes(b"PEM")
        seen: list[bool] = []

        def serve(*_: object, pulse: Pulse) -> None:
            seen.append(replica.READY.exists())
            pulse.beat()

        monkeypatch.setattr(replica, "READY", tmp_path / "ready")
        monkeypatch.setattr(replica, "ending", lambda *_: threading.Event())
        monkeypatch.setattr(replica, "supervise", lambda *_: seen.append(replica.READY.exists()) or 0)
        monkeypatch.setattr("transport.serving.run_node", serve)
        assert replica.serve_replica("honest", places, console(), stock) == 0
        assert seen == [stock]
        assert replica.READY.exists()


class TestResults:
    def test_all_but_the_checkpoint_is_copied_under_a_new_name(self, places: Places) -> None:
        made = places.results / "mine"
        for folder in ("state", "events"):
            (made / folder).mkdir(parents=True)
            (made / folder / "s").write_text("x")
        (made / "summary.json").write_text("{}")
        for name in ("mine", "mine-2"):
            out = console()
            deliver(places, out)
            assert (places.runs / name / "events" / "s").read_text() == "x"
            assert not (places.runs / name / "state").exists()
            assert f"runs/{name}/: summary.json" in said(out)

    def test_none_and_no_room_are_told(self, places: Places) -> None:
        with pytest.raises(RunError, match="no results yet"):
            deliver(places, console())
        (places.results / "mine").mkdir()
        (places.results / "mine" / "a").write_text("")
        blocked = Places(places.root, places.results, places.root / "file")
        blocked.runs.write_text("")
        with pytest.raises(RunError, match="may its owner write"):
            deliver(blocked, console())

    def test_root_becomes_the_owner_of_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[str, object]] = []
        for name in ("setgroups", "setgid", "setuid"):
            monkeypatch.setattr(os, name, lambda value, name=name: calls.append((name, value)))
        monkeypatch.setattr(os, "getuid", lambda: 0)
        become_owner(tmp_path)
        owner = tmp_path.stat()
        assert calls == [("setgroups", []), ("setgid", owner.st_gid), ("setuid", owner.st_uid)]
        monkeypatch.setattr(os, "getuid", lambda: 7)
        become_owner(tmp_path)
        assert len(calls) == 3

    def test_trust_adds_up_weights_and_refusals(self) -> None:
        audit = [
            {"node": 1, "device": 4, "verdict": "admitted", "weight": 0.5},
            {"node": 1, "device": 5, "verdict": "clipped", "weight": 0.3},
            {"node": 2, "device": 6, "verdict": "admitted", "weight": 0.1},
            {"node": 2, "device": None, "verdict": "refused"},
            {"node": 1, "device": None, "verdict": "admitted", "evaluation": "test"},
            {"node": 2, "device": None, "verdict": "refused", "evaluation": "valid"},
        ]
        found = trust(audit)
        assert found == {1: Trust(2, 0, 0.8), 2: Trust(1, 1, 0.1)}
        out = console()
        show_trust(
            [Node("honest", 0, 1, [4, 5]), Node("malicious", 0, 2, [6]), Node("honest", 1, 3, [7])],
            found,
            out,
        )
        rows = [
            line.split()
            for line in said(out).splitlines()
            if line.strip().startswith(("honest", "malicious"))
        ]
        assert rows == [
            ["honest", "0", "2", "2", "0", "0", "1.00"],
            ["malicious", "0", "1", "1", "0", "1", "0.25"],
            ["honest", "1", "1", "0", "0", "0", "–"],
        ]


class TestSetup:
    def test_it_checks_fetches_certifies_and_clears(
        self, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATA", "synthetic")
        monkeypatch.setenv("SETTINGS", "model.dim=8 model.max_len=8")
        places.over.write_text("")
        places.plan("honest").parent.mkdir()
        places.plan("honest").write_text(json.dumps({}))
        out = console()
        prepare(places, out)
        assert "synthetic: 200 devices" in said(out)
        assert "signed a new one" in said(out)
        assert not places.over.exists()
        assert not places.plan("honest").exists()
        again = console()
        prepare(places, again)
        assert "kept from an earlier start" in said(again)

    @pytest.mark.parametrize("key", ["STRATEGY", "MODEL", "ATTACK"])
    def test_a_name_that_nothing_knows_ends_it(
        self, key: str, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FEDSIEVE_ROOT", str(places.root.parent))
        monkeypatch.setenv("DATA", "synthetic")
        monkeypatch.setenv(key, "nonsense")
        assert main(["setup"]) == 2
        assert "'nonsense'; valid: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["setup", "--stock"], ["node", "--fast"]])
def test_a_role_that_does_not_exist_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "setup|superlink|node|malicious|run|results" in capsys.readouterr().err
