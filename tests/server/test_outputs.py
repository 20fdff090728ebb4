"""The files of a run hold what they promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from common.errors import RunError
from common.settings import load, to_tree
from common.tasks import CUTS, EXPOSURES, METRICS
from server.nodes.membership import Membership
from server.records.outputs import RunFolder
from server.records.report import Evaluation, RoundReport
from tests.server.federation import Watch, config, lines, model, run

SETTINGS = config("strategy.aggregator=geometric_median", "attack.share=0.25")
SUMMARY = {
    *("rounds", "seconds", "protocol", "data", "model", "aggregator", "attack", "malicious_share", "seed"),
    *("test", "valid", "er@5", "er@10", "er@20", "quartiles", "device_updates_per_second"),
    *("bytes_up", "bytes_down", "peak_rss_mb"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Watch]:
    out, watch = tmp_path_factory.mktemp("finished") / "deep" / "run", Watch()
    run(SETTINGS, out, listeners=[watch])
    return out, watch


def test_the_folder_holds_all_files(finished: tuple[Path, Watch]) -> None:
    names = {path.name for path in finished[0].iterdir()}
    promised = {"config.yaml", "metrics.jsonl", "summary.json", "audit.jsonl", "model.safetensors", "state"}
    assert promised <= names
    assert not list(finished[0].rglob("*.tmp"))


def test_the_summary_has_the_promised_keys(finished: tuple[Path, Watch]) -> None:
    out, watch = finished
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) >= SUMMARY
    for split in ("test", "valid"):
        assert set(summary[split]) == set(METRICS)
        assert all(0 <= value <= 1 for value in summary[split].values())
    assert {f"er@{k}" for k in CUTS} <= set(EXPOSURES) <= set(summary)
    assert set(summary["quartiles"]) == {"q1", "q2", "q3", "q4"}
    assert summary["test"] == watch.evaluations[-1].groups["all"]
    assert summary["valid"] == watch.evaluations[-2].groups["all"]
    assert summary["malicious_share"] == 0  # no attack, whatever attack.share says
    for key in ("bytes_up", "bytes_down"):
        assert summary[key] == sum(r.figures[key] for r in watch.rounds) > 0
    devices = sum(r.figures["admitted"] for r in watch.rounds)
    seconds = sum(r.figures["seconds"] for r in watch.rounds)
    assert summary["device_updates_per_second"] == pytest.approx(devices / seconds, rel=0.01)
    assert 0 < seconds <= summary["seconds"]
    assert summary["peak_rss_mb"] > 50
    assert "full ranking" in summary["protocol"]
    assert "4 rounds x 16 devices, slice 20 (popularity^0.5)" in summary["protocol"]


def test_upload_bytes_are_those_of_the_updates(finished: tuple[Path, Watch]) -> None:
    out, watch = finished
    parameters = model(out)["encoder"].numel() + 20 * 4
    for report in watch.rounds:
        devices = report.figures["admitted"]  # who is idle sends a number
        values = 4 * parameters * devices
        assert values < report.figures["bytes_up"] < values + 12 * report.figures["asked"] + 4 * 20 + 100


def test_config_yaml_reloads_to_an_equal_config(finished: tuple[Path, Watch]) -> None:
    again = load(finished[0] / "config.yaml")
    assert again.strategy.secret == ""  # the one thing that is not written down
    assert again == SETTINGS.model_copy(update={"strategy": again.strategy})
    assert to_tree(again) == to_tree(SETTINGS)


def test_metrics_have_a_line_a_round(finished: tuple[Path, Watch]) -> None:
    out, watch = finished
    trained = [line for line in lines(out, "metrics") if "split" not in line]
    assert [line["round"] for line in trained] == [1, 2, 3, 4]
    for line, report in zip(trained, watch.rounds, strict=True):
        assert line == {"round": report.round, "skipped": False, **report.figures}
    keys = {"asked", "admitted", "bytes_up", "bytes_down", "seconds", "seconds_exchange", "seconds_aggregate"}
    assert keys <= set(trained[0])


def test_the_audit_names_every_device_asked(finished: tuple[Path, Watch]) -> None:
    out, watch = finished
    audit = lines(out, "audit")
    for report in watch.rounds:
        mine = [line for line in audit if line["round"] == report.round]
        assert len(mine) == report.figures["asked"]
        admitted = [line for line in mine if line["verdict"] in ("admitted", "clipped")]
        assert len(admitted) == report.figures["admitted"]
        assert all(line["weight"] > 0 for line in admitted)
    assert set(audit[0]) >= {"round", "node", "device", "verdict", "reason", "detail"}


def test_tensorboard_reads_the_events(finished: tuple[Path, Watch]) -> None:
    out, watch = finished
    events = EventAccumulator(str(out / "events"))
    events.Reload()
    found = [(e.step, e.value) for e in events.Scalars("valid/ndcg_at_10")]
    expected = [(e.round, e.groups["all"]["ndcg@10"]) for e in watch.evaluations if e.split == "valid"]
    assert [step for step, _ in found] == [step for step, _ in expected] == [2, 4]
    assert [v for _, v in found] == pytest.approx([v for _, v in expected], rel=1e-5)
    assert {"round/seconds", "round/admitted", "test/er_at_10"} <= set(events.Tags()["scalars"])


def test_the_saved_model_is_the_last_state(finished: tuple[Path, Watch]) -> None:
    out, watch = finished
    assert torch.equal(model(out)["encoder"], watch.states[-1].model.encoder)
    assert torch.equal(model(out)["item_table"], watch.states[-1].model.table)


def test_checkpoint_every_0_saves_at_the_end_only(tmp_path: Path) -> None:
    seen = []

    class Look:
        def on_round(self, report: RoundReport, state: object) -> None:
            seen.append((tmp_path / "state").exists())

        def on_evaluation(self, evaluation: Evaluation) -> None:
            pass

    run(config("checkpoint_every=0"), tmp_path, listeners=[Look()])
    assert seen == [False] * 4
    assert (tmp_path / "state").exists()


def test_the_membership_is_put_together_only_where_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = Membership.tensors, []

    def tensors(self: Membership) -> dict[str, torch.Tensor]:
        made.append(len(self.members))
        return real(self)

    monkeypatch.setattr(Membership, "tensors", tensors)
    run(config("checkpoint_every=3", "train.rounds=5"), tmp_path)
    assert made == [1, 1]  # after rounds 3 and 5


def test_a_folder_that_cannot_be_made_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"--out .*file/run: Not a directory"):
        RunFolder(tmp_path / "file" / "run", config()).hold()


def test_nothing_is_written_for_a_run_that_cannot_start(tmp_path: Path) -> None:
    from common.errors import ConfigError

    with pytest.raises(ConfigError):
        run(config("strategy.aggregator=krumm"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
