"""State on disk, without a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from common.errors import CheckpointError
from server.records.checkpoint import (
    FILE,
    digest,
    leftovers,
    load_state,
    restored,
    save_state,
    write_atomically,
)
from server.round.pipeline import Pipeline
from server.round.state import ServerState
from tests.server.federation import ITEMS, config
from tests.server.interruption import change_meta


def state(round_: int = 3) -> ServerState:
    pipeline = Pipeline.build(config("strategy.optimizer=adam"), ITEMS)
    begun = pipeline.init()
    return ServerState(
        round_,
        begun.model,
        begun.optimizer,
        {"trust": torch.tensor([0.5, float("nan")])},
        {"0/window": torch.arange(3)},
        begun.pulls + 0.1,
        begun.trained + 1,
        begun.secret,
        {"node": torch.tensor([-3]), "device": torch.tensor([4, 5])},
    )


def test_what_is_saved_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    saved = state()
    save_state(tmp_path, config(), saved, {"sizes": {"a": 1}}, {2: b"\x00kept", 7: b"\xff"})
    found, extra = load_state(tmp_path, config())
    assert found.round == 3
    assert extra == {"sizes": {"a": 1}, "memory": {2: b"\x00kept", 7: b"\xff"}}
    before, after = saved.tensors(), found.tensors()
    assert list(before) == list(before | after)
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name].nan_to_num(7), tensor.nan_to_num(7))
    assert restored(found, saved) is found


def test_nothing_saved_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"nothing to resume: .*{FILE}"):
        load_state(tmp_path, config())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seed=1", "seed was 0, given 1"),
        ("train.rounds=3", r"train.rounds was 4, given 3 \(a run can only be extended\)"),
        ("train.local_steps=2", "train.local_steps was 1, given 2"),
        ("strategy.lr=1", "strategy.lr was 0.004, given 1.0"),
        ("strategy.aggregator=median", "strategy.aggregator.name was 'mean', given 'median'"),
        ("strategy.optimizer.beta1=0.5", "strategy.optimizer.beta1 was unset, given 0.5"),
        ("strategy.min_replies=3", "strategy.min_replies was 1, given 3"),
        ("attack.name=nan", "attack.name was 'none', given 'nan'"),
        ("eval.targets=['#1']", r"eval.targets was \['#3', '#7'\], given \['#1'\]"),
        ("model.dim=8", "model.dim was 4, given 8"),
        ("data.max_devices=3", "data.max_devices was 0, given 3"),
    ],
)
def test_settings_that_change_learning_are_refused_by_name(change: str, told: str, tmp_path: Path) -> None:
    save_state(tmp_path, config(), state(), {})
    with pytest.raises(CheckpointError, match=rf"other settings: {told}; use its own config\.yaml$"):
        load_state(tmp_path, config(change))


def test_of_many_changes_the_first_are_named(tmp_path: Path) -> None:
    save_state(tmp_path, config(), state(), {})
    with pytest.raises(CheckpointError, match=r"^[^\n]*model\.dim was 4, given 8[^\n]*; and 2 more;[^\n]*$"):
        load_state(
            tmp_path,
            config(
                "seed=1",
                "model.dim=8",
                "model.blocks=2",
                "train.rounds=3",
                "strategy.lr=1",
                "wire.dtype=float16",
            ),
        )


@pytest.mark.parametrize(
    "change",
    [
        *(
            "train.rounds=9",
            "eval.every=1",
            "eval.sample=9",
            "checkpoint_every=1",
            "strategy.deadline_s=5",
            "strategy.wait_s=1",
        ),
        "strategy.wait_nodes=3",
    ],
)
def test_settings_that_do_not_are_taken(change: str, tmp_path: Path) -> None:
    save_state(tmp_path, config(), state(), {})
    assert load_state(tmp_path, config(change))[0].round == 3


@pytest.mark.parametrize("before", ["", "one"], ids=["no digest", "a digest"])
@pytest.mark.parametrize("now", ["", "one", "other"])
@pytest.mark.parametrize("place", ["", "data.path=/srv/moved.csv"])
def test_data_are_known_by_their_digest_or_else_by_their_name(
    before: str, now: str, place: str, tmp_path: Path
) -> None:
    save_state(tmp_path, config(), state(), {}, data=before)
    settings = config(*[place] * bool(place))
    if (before == now) if before and now else not place:
        assert load_state(tmp_path, settings, now)[0].round == 3
    else:
        with pytest.raises(
            CheckpointError, match=r"on other data: data was 'devices=40.*', given '.*another log$"
        ):
            load_state(tmp_path, settings, now)


def test_a_checkpoint_of_an_earlier_version_is_told(tmp_path: Path) -> None:
    save_state(tmp_path, config(), state(), {})
    change_meta(tmp_path / FILE, lambda meta: meta.update(config=meta.pop("settings") and "a hash"))
    with pytest.raises(CheckpointError, match=r"is of an earlier version, which kept no settings"):
        load_state(tmp_path, config())
    save_state(tmp_path, config(), state(), {})
    change_meta(tmp_path / FILE, lambda meta: meta["settings"]["train"].update(endurance=3))
    with pytest.raises(
        CheckpointError, match=r"settings that this version lacks: unknown setting train\.endurance"
    ):
        load_state(tmp_path, config())


def test_what_nodes_remember_of_an_earlier_version_is_not_read(tmp_path: Path) -> None:
    save_state(tmp_path, config(), state(), {}, {2: b"kept"})
    change_meta(tmp_path / FILE, lambda meta: meta.pop("wire"))
    with pytest.raises(CheckpointError, match="whose nodes remember in another form"):
        load_state(tmp_path, config())
    save_state(tmp_path, config(), state(), {})  # where nothing is remembered, nothing is lost
    change_meta(tmp_path / FILE, lambda meta: meta.pop("wire"))
    assert load_state(tmp_path, config())[0].round == 3


def test_a_state_of_other_shapes_is_refused() -> None:
    from dataclasses import replace

    saved = state()
    grown = replace(saved, aggregator={"trust": torch.zeros(5)})
    assert restored(grown, saved) is grown  # what a rule learns may grow
    with pytest.raises(CheckpointError, match=r"seen is \[5\], expected \[30\]"):
        restored(replace(saved, trained=torch.zeros(5)), saved)
    with pytest.raises(CheckpointError, match="aggregator/trust is missing"):
        restored(replace(saved, aggregator={}), saved)


def test_the_digest_sees_text_values_names_types_and_shapes() -> None:
    base = {"a": torch.tensor([1.0, 2.0])}
    others: list[dict[str, torch.Tensor]] = [
        {"a": torch.tensor([1.0, 2.0000002])},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0]).view(torch.int32)},
    ]
    assert digest(base, "{}") == digest({"a": torch.tensor([1.0, 2.0])}, "{}")
    assert len({digest(base, "[]"), *(digest(one, "{}") for one in (base, *others))}) == 6


def test_writing_replaces_the_whole_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomically(path, b"long old text")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_write_within_another_of_the_same_file_harms_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = tmp_path / "file", os.fsync
    seen = list[bytes]()

    def meanwhile(file: int) -> None:
        original(file)
        if not seen:
            seen.append(b"")
            write_atomically(path, b"of another process")
            seen.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_atomically(path, b"own")
    assert seen == [b"", b"of another process"]
    assert path.read_bytes() == b"own"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(file: int) -> None:
        raise error

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((CheckpointError, KeyboardInterrupt)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_leftovers_are_of_that_file_alone(tmp_path: Path) -> None:
    part = f"file.{'0a' * 8}.tmp"
    for name in (part, "file", "file.tmp", "file.notes.tmp", f"other.{'0a' * 8}.tmp"):
        (tmp_path / name).touch()
    assert leftovers(tmp_path / "file") == [tmp_path / part]
    assert leftovers(tmp_path / "absent" / "file") == []


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_checkpoint_is_its_owners_from_the_first_byte_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, original = list[int](), os.fsync

    def look(file: int) -> None:
        seen.append(os.fstat(file).st_mode & 0o777)
        original(file)

    monkeypatch.setattr(os, "fsync", look)
    folder = tmp_path / "state"
    save_state(folder, config(), state(), {})
    assert seen == [0o600]
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("open_umask")
def test_other_files_are_as_the_umask_says(tmp_path: Path) -> None:
    write_atomically(tmp_path / "summary.json", b"{}")
    assert (tmp_path / "summary.json").stat().st_mode & 0o777 == 0o644


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match=r"cannot write .*below: (File exists|Not a directory)$"):
        write_atomically(tmp_path / "file" / "below", b"x")


def test_a_write_clears_what_a_killed_one_left_long_ago(tmp_path: Path) -> None:
    old, new = (tmp_path / f"notes.json.{digit * 16}.tmp" for digit in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_atomically(tmp_path / "notes.json", b"{}")
    assert not old.exists()
    assert new.exists(), "another writer may be at it"
