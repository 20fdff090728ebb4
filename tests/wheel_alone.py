"""An installed wheel, used from an empty folder: ``python -P …/wheel_alone.py`` by the Python that has it.

Not a test of pytest's: the environment it is for has the base install alone. ``.ci/wheel`` starts it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

FEDSIEVE = Path(sys.executable).parent / "fedsieve"
LOG = "data.path=devices=24,items=40,length=8"
SMALL = ["data.name=synthetic", LOG, "train.rounds=2", "train.devices_per_round=12", "train.slice_size=16"]
SMALL += ["model.dim=8", "eval.every=2", "strategy.wait_s=60"]
SETS = [word for setting in SMALL for word in ("--set", setting)]
OWN = ["--set", "data.path=my-log.csv", *SETS[4:]]
"""The same on a log of the reader's own, as docs/start.md has it."""
GRID = {
    "configs": ["demo"],
    "strategies": ["mean", "sieve"],
    "attacks": ["control", "label_to_target"],
    "set": {
        **{"data.path": "my-log.csv", "train.rounds": 2, "train.devices_per_round": 12},
        **{"train.slice_size": 16, "model.dim": 8},
    },
}
OURS = ("fedsieve", "server", "client", "common", "attacks", "transport", "emulation", "experiments")
PLOTTING = ("plotly", "kaleido", "tensorboard")


def call(*words: str, status: int = 0) -> str:
    """Run ``fedsieve WORDS`` here; what it printed."""
    done = subprocess.run([FEDSIEVE, *words], capture_output=True, text=True, timeout=300, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == status, f"fedsieve {' '.join(words)}: status {done.returncode}\n{told}"
    print(f"  fedsieve {' '.join(words)[:60]}: as it should", flush=True)
    return told


def write_log(place: Path) -> None:
    """24 users who go through 40 films one by one, each from another one on."""
    rows = [f"u{u},film-{(3 * u + step) % 40},{86_400 * u + step}" for u in range(24) for step in range(8)]
    place.write_text("user,item,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")


def main() -> None:
    """Every command that needs no server, and the demo that brings its own."""
    assert not list(Path.cwd().iterdir()), "the folder is not empty"
    os.environ["COLUMNS"] = "200"
    found = [name for name in PLOTTING if importlib.util.find_spec(name)]
    assert not found, f"the base install brings {found}"
    for name in OURS:  # what is here is not ours, whatever it is called
        Path(f"{name}.py").write_text(f"raise SystemExit('{name}.py of the working folder was imported')\n")
    assert "fedsieve[report]" in call("run", "demo", *SETS, "--out", "run")
    assert json.loads(Path("run/summary.json").read_text())["rounds"] == 2
    assert not Path("run/report.html").exists()
    assert "attacked, sieve" in call("demo", *SETS, "--out", "demo")
    write_log(Path("my-log.csv"))
    assert "film-3" in call("data", "check", "my-log.csv")
    call("run", *OWN, "--set", "eval.targets=film-3", "--out", "mine")
    assert json.loads(Path("mine/summary.json").read_text())["targets"] == ["film-3"]
    Path("grid.yaml").write_text(json.dumps(GRID))
    assert "fedsieve[report]" in call("compare", "grid.yaml", "--out", "grid", "--workers", "2")
    assert len(Path("grid/results.csv").read_text().splitlines()) == 5
    assert "fedsieve[report]" in call("report", "grid", status=2)
    assert "valid: ablation" in call("compare", "nothing", "--out", "none", status=2)
    assert "--fleet-api-address" in call("superlink", "--help")
    library = "import fedsieve; print(fedsieve.run('synthetic', rounds=2, progress=False).metrics)"
    words = [sys.executable, "-P", "-c", library]  # without -P the working folder comes first, as everywhere
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert "ndcg@10" in done.stdout, done.stdout + done.stderr
    call("grpc-demo", *SETS, "--nodes", "1", "--out", "grpc")
    assert json.loads(Path("grpc/summary.json").read_text())["rounds"] == 2


if __name__ == "__main__":
    main()
