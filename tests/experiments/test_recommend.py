"""``fedsieve recommend``: the run's own ranking, in the words of its log."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from rich.console import Console
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from common.data import CATALOGUE, load, write_shards
from common.data import catalogue as known_catalogue
from common.errors import CheckpointError, ConfigError, FedSieveError, RunError
from common.models import build_model
from common.settings import to_tree
from experiments import cli
from experiments.beside import add_beside
from experiments.engines import completed, emulate
from experiments.recommend import best, history_of, parse_history, shown
from experiments.run_files import read_summary
from experiments.trained import Catalogue, Trained, catalogue, open_run
from tests.common.hostile_text import ATTACKS, HOSTILE, check_harmless
from tests.experiments.trained_run import finished, log
from tests.server.federation import ITEMS, LOG, config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("recommend"))


@pytest.fixture
def trained(run: Path) -> Trained:
    return open_run(run)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["recommend", *(str(a) for a in arguments)])


def refused(*arguments: str | Path) -> str:
    result = invoke(*arguments)
    assert isinstance(result.exception, FedSieveError), result.output
    return str(result.exception)


def by_hand(run: Trained, history: list[int]) -> torch.Tensor:
    """Scores of a history without padding, by the module itself."""
    module = build_model(run.config.model).eval()
    module.load_state_dict(run.layout.unflatten(run.parameters.encoder))
    rows = run.parameters.table[history]
    with torch.no_grad():
        hidden = module(rows, torch.zeros(len(history), dtype=torch.bool))
    return run.parameters.table @ hidden[-1]


def test_the_order_is_that_of_the_model(trained: Trained) -> None:
    known, history = catalogue(trained), [5, 9, 2]
    scores = by_hand(trained, history)
    expected = [i for i in np.argsort(-scores[1:].numpy(), kind="stable") + 1 if i not in history]
    hits = best(trained, known, np.array(history, dtype=np.int32), 7)
    assert [hit.item for hit in hits] == expected[:7]
    assert [hit.rank for hit in hits] == list(range(1, 8))
    assert [hit.score for hit in hits] == pytest.approx([float(scores[i]) for i in expected[:7]], rel=1e-4)
    assert hits[0].id == f"i{100 + expected[0]}"


def test_a_log_of_a_relative_path_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it lies where the run was started; else the message says so."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(log(tmp_path).parent)
    emulate(config("data.name=log", "data.path=log.csv", "train.rounds=1", "eval.every=0"), Path("run"))
    assert read_summary(Path("run"))["started_in"] == str(tmp_path)
    assert open_run(Path("run")).config.data.path == "log.csv"
    monkeypatch.chdir("sub")
    assert "History of " in invoke("--run", "../run", "--user", "u1").output
    before = read_summary(Path("../run"))
    assert completed(Path("../run"))
    assert read_summary(Path("../run")) == before
    (tmp_path / "log.csv").rename(tmp_path / "elsewhere.csv")
    told = (
        "log.csv: is not here: the path is relative to the folder that the run was started in; "
        "call this from there"
    )
    assert refused("--run", "../run", "--user", "u1") == told
    assert refused("--run", "../run", "--history", "i101") == told


def of_server(run: Path, out: Path) -> Path:
    """The run as a server leaves it that has the catalogue alone, which lies in its working folder."""
    out.mkdir()
    settings = to_tree(open_run(run).config)
    write_shards(load("", settings["data"]["path"]), 2, out.parent)
    settings["data"]["path"] = CATALOGUE
    meta = {"config": json.dumps(settings), "num_items": str(ITEMS)}
    save_file(load_file(run / "model.safetensors"), out / "model.safetensors", metadata=meta)
    digest = known_catalogue("", str(out.parent / CATALOGUE)).digest
    summary = {**read_summary(run), "data": CATALOGUE, "data_digest": digest}
    (out / "summary.json").write_text(json.dumps(summary))
    return out


def test_a_catalogue_of_a_relative_path_is_found_from_any_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = of_server(run, tmp_path / "out")
    add_beside(out, open_run(out).config)
    assert read_summary(out)["started_in"] == str(tmp_path)
    assert read_summary(out)["target_items"] == {"i103": {"number": 3, "title": ""}}
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir("sub")
    assert "i101" in invoke("--run", "../out", "--history", "i101").output


def test_a_catalogue_of_another_run_in_its_place_names_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = of_server(run, tmp_path / "out")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    write_shards(load("synthetic", LOG), 2, Path())
    before = read_summary(out)
    add_beside(out, open_run(out).config)
    assert read_summary(out) == {**before, "target_items": {}}


def test_seen_items_come_back_only_when_asked_for(trained: Trained) -> None:
    known, history = catalogue(trained), np.arange(1, 9, dtype=np.int32)
    fresh = {hit.item for hit in best(trained, known, history, 1000)}
    assert fresh == set(range(9, ITEMS + 1))
    everything = best(trained, known, history, 1000, with_seen=True)
    assert {hit.item for hit in everything} == set(range(1, ITEMS + 1))


def test_ties_go_to_the_lower_number(trained: Trained) -> None:
    table = trained.parameters.table.clone()
    table[[20, 25]] = table[11].clone()
    tied = replace(trained, parameters=replace(trained.parameters, table=table))
    found = [h.item for h in best(tied, catalogue(trained), np.array([3], dtype=np.int32), 1000)]
    assert [i for i in found if i in (11, 20, 25)] == [11, 20, 25]


def test_ids_are_the_logs_and_numbers_the_catalogues(trained: Trained) -> None:
    known = catalogue(trained)
    assert parse_history("i103, i101 ,i130,i101", known).tolist() == [3, 1, 30, 1]
    assert parse_history("3,1,30", known, numbers=True).tolist() == [3, 1, 30]
    own = load("synthetic", LOG).sequences
    assert history_of("u10", known).tolist() == own[9].tolist()
    assert history_of("2", known, numbers=True).tolist() == own[9].tolist()  # as text u10 follows u1


def test_an_id_with_a_comma_stands_in_quotes() -> None:
    known = Catalogue("films", ("Alien (1979)", "Matrix, The (1999)"), {})
    assert parse_history('"Matrix, The (1999)",Alien (1979)', known).tolist() == [2, 1]


def test_a_pasted_column_of_ids_is_a_history(trained: Trained) -> None:
    known = catalogue(trained)
    assert parse_history("i103\ni101\r\ni130\n", known).tolist() == [3, 1, 30]
    with pytest.raises(ConfigError, match="--history: field larger than"):
        parse_history("i" * 200_000, known)


@pytest.mark.parametrize(
    ("text", "numbers", "told"),
    [
        ("", False, "--history is empty"),
        (" , ", False, "--history is empty"),
        ("i101,i999", False, "no item 'i999' in log; valid: ids as in the log, such as i101"),
        ("3", False, "no item '3'"),
        ("0", True, "no item '0' in log; valid: 1 to 30"),
        ("31", True, "valid: 1 to 30"),
    ],
)
def test_unknown_items_and_an_empty_history_are_refused(
    trained: Trained, text: str, numbers: bool, told: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_history(text, catalogue(trained), numbers)
    assert told in str(raised.value)


def test_a_title_typed_for_an_id_is_answered_with_the_id() -> None:
    known = Catalogue("films", ("50", "181"), {1: "Star Wars", 2: "Return of the Jedi"})
    with pytest.raises(ConfigError, match=r"titles with it: 181 \(Return of the Jedi\)"):
        parse_history("the jedi", known)


def test_the_table_has_history_titles_and_scores(run: Path) -> None:
    result = invoke("--run", run, "--history", "i103,i101", "--top", 4)
    assert result.exit_code == 0, result.output
    assert result.output.index("i103") < result.output.index("i101")
    assert "History of 2, oldest first:" in result.output
    lines = [line for line in result.output.splitlines() if line.startswith("│    ")]
    assert len(lines) == 4


def test_titles_are_shown_as_they_are_written(trained: Trained) -> None:
    known = replace(catalogue(trained), titles={3: "[bold]Brackets[/bold] (1999)"})
    history = np.array([3] * 60, dtype=np.int32)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(shown(trained, known, history, best(trained, known, history, 1, with_seen=True)))
    text = console.export_text()
    assert "[bold]Brackets[/bold] (1999)" in text
    assert "50 earlier" in text
    assert "the model reads the last 8:" in text


def test_titles_that_are_the_ids_are_shown_once(trained: Trained) -> None:
    known = catalogue(trained)
    known = replace(known, titles=dict(enumerate(known.ids, start=1)))
    history = np.array([3], dtype=np.int32)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(shown(trained, known, history, best(trained, known, history, 1)))
    text = console.export_text()
    assert text.count("i103") == 1
    assert "title" not in text


def test_json_of_a_user(run: Path) -> None:
    result = invoke("--run", run, "--user", "u3", "--top", 2, "--json")
    found = json.loads(result.output)
    assert [item["id"] for item in found["history"]] == [
        f"i{100 + i}" for i in load("synthetic", LOG).sequences[2]
    ]
    assert [set(hit) for hit in found["recommendations"]] == [{"rank", "item", "id", "title", "score"}] * 2
    assert found["recommendations"][0]["score"] >= found["recommendations"][1]["score"]


def test_one_of_history_and_user_is_asked_for(run: Path) -> None:
    assert "either --history or --user" in refused("--run", run)
    assert "either --history or --user" in refused("--run", run, "--history", "i101", "--user", "u1")
    assert "no user 'u99' in log; valid: such as u1, u10, u11" in refused("--run", run, "--user", "u99")


def test_folders_without_a_finished_run_are_told_apart(tmp_path: Path, run: Path) -> None:
    assert "no run there" in refused("--run", tmp_path / "nowhere", "--history", "i101")
    (tmp_path / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    with pytest.raises(RunError, match="is not finished: fedsieve run --resume"):
        open_run(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="is damaged"):
        open_run(tmp_path)


def test_a_model_file_that_describes_an_absurd_model_builds_none(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = to_tree(open_run(run).config)
    tree["model"]["blocks"] = 100_000
    tensors = load_file(run / "model.safetensors")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"config": json.dumps(tree)})
    monkeypatch.setattr("experiments.trained.build_model", lambda _: pytest.fail("it was built"))
    with pytest.raises(CheckpointError, match=r"model\.blocks: .*64.*given: 100000"):
        open_run(tmp_path)


def changed(run: Path, folder: Path, **tensors: torch.Tensor) -> Path:
    """The run's model with other tensors."""
    meta = {"config": json.dumps(to_tree(open_run(run).config))}
    model = load_file(run / "model.safetensors") | tensors
    save_file(model, folder / "model.safetensors", metadata=meta)
    return folder


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("model", "blocks", 100_000), ("model", "dim", 10**9), ("train", "local_steps", 10**12)],
)
@pytest.mark.parametrize("tool", ["recommend", "export"])
def test_a_model_of_absurd_settings_is_refused_in_one_line(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, tool: str, section: str, name: str, value: int
) -> None:
    settings = to_tree(open_run(run).config)
    settings[section][name] = value
    meta = {"config": json.dumps(settings)}
    save_file(load_file(run / "model.safetensors"), tmp_path / "model.safetensors", metadata=meta)
    more = ["--history", "i101"] if tool == "recommend" else ["--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["fedsieve", tool, "--run", str(tmp_path), *more])
    monkeypatch.setattr("experiments.trained.build_model", lambda config: pytest.fail("it was built"))
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = " ".join(said.getvalue().split())
    assert told.endswith(f"(given: {value})")
    assert f"{section}.{name}: expected a whole number from " in told


def test_a_model_that_does_not_fit_its_settings_or_diverged_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(CheckpointError, match="encoder size and width"):
        open_run(changed(run, tmp_path, encoder=torch.zeros(7)))
    bad = load_file(run / "model.safetensors")["item_table"]
    bad[4, 0] = torch.nan
    with pytest.raises(RunError, match="not finite"):
        open_run(changed(run, tmp_path, item_table=bad))


def test_a_log_that_is_not_the_runs_is_refused(tmp_path: Path, run: Path) -> None:
    other = open_run(changed(run, tmp_path, item_table=torch.zeros(31 + 5, 4)))
    with pytest.raises(RunError, match="knows 35 items, .* has 30"):
        catalogue(other)


def test_a_servers_catalogue_names_items_and_has_no_users(tmp_path: Path, trained: Trained) -> None:
    write_shards(load("synthetic", LOG), 2, tmp_path)
    data = trained.config.data.model_copy(update={"path": str(tmp_path / CATALOGUE)})
    known = catalogue(replace(trained, config=trained.config.model_copy(update={"data": data})))
    assert known.ids == tuple(str(i) for i in range(1, ITEMS + 1))
    assert parse_history("5", known).tolist() == [5]
    with pytest.raises(ConfigError, match="use --history"):
        history_of("1", known)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "surrogate"])
def test_titles_and_ids_of_a_log_do_nothing_to_the_terminal(name: str, trained: Trained) -> None:
    ids = tuple(f"{i} {ATTACKS[name]}" for i in range(1, ITEMS + 1))
    known = Catalogue("log", ids, {i: f"Amélie {i} {ATTACKS[name]}" for i in range(1, ITEMS + 1)})
    history = np.array([3, 4], dtype=np.int32)
    console = Console(
        file=io.StringIO(), record=True, width=1000, force_terminal=True, color_system="truecolor"
    )
    console.print(shown(trained, known, history, best(trained, known, history, 2)))
    text = console.export_text()
    check_harmless(text, 1000)
    assert len(text) < 100_000
    assert "Amélie 3 " in text
    if name == "markup":
        assert text.count("[link=http://x]y[/link]") == 8
    for history_ in ("nothing", "amélie"):
        with pytest.raises(ConfigError) as error:
            parse_history(history_, known)
        check_harmless(str(error.value), 2500)


def test_json_of_hostile_titles_acts_on_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Catalogue(
        "log", tuple(f"i{i}" for i in range(ITEMS)), dict.fromkeys(range(1, ITEMS + 1), HOSTILE)
    )
    monkeypatch.setattr("experiments.trained.catalogue", lambda _: known)
    result = invoke("--run", run, "--history", "i1", "--json")
    check_harmless(result.output, 10_000)
    assert json.loads(result.output)["history"][0]["title"] == HOSTILE
