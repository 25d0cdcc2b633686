"""Checkpoint files: whole or not at all, whatever interrupts their writing."""

from __future__ import annotations

import errno
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as storage

from adjudge.train.checkpoints import MANIFEST, Checkpoints, Snapshot, resumable_step


def snapshot(step: int, best_step: int | None = None) -> Snapshot:
    return Snapshot(
        step=step,
        state={"weights/a": torch.full((3, 2), float(step)), "random/cpu": torch.arange(5, dtype=torch.uint8)},
        best_step=best_step,
        best={} if best_step is None else {"weights/a": torch.full((3, 2), float(best_step))},
        values={"steps": step, "loss": 0.1 + 0.2},
    )


def checkpoints(folder: Path, events: list[dict[str, Any]] | None = None, every_seconds: float = 0.0) -> Checkpoints:
    return Checkpoints(folder, every_seconds, (events if events is not None else []).append)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    checkpoints(tmp_path / "c").save(snapshot(7, 5))
    found = checkpoints(tmp_path / "c").load()
    assert found is not None
    assert (found.step, found.best_step, found.values) == (7, 5, {"steps": 7, "loss": 0.1 + 0.2})
    assert found.state["weights/a"].tolist() == [[7.0, 7.0]] * 3
    assert found.state["random/cpu"].dtype == torch.uint8
    assert found.best["weights/a"].tolist() == [[5.0, 5.0]] * 3
    assert resumable_step(tmp_path / "c") == 7


def test_old_ones_are_pruned_and_the_best_is_kept_and_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, save_file = [], storage.save_file
    monkeypatch.setattr(storage, "save_file", lambda t, path: (saved.append(path.name), save_file(t, path)))
    kept = checkpoints(tmp_path / "c")
    for step, best in ((1, None), (2, 2), (3, 2), (4, 4)):
        kept.save(snapshot(step, best))
    assert files(tmp_path / "c") == ["best-4.safetensors", MANIFEST, "state-4.safetensors"]
    assert [name for name in saved if name.startswith("best")] == ["best-2.safetensors", "best-4.safetensors"]


def test_there_is_none_before_the_first_and_after_the_end(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path / "c")
    assert kept.load() is None
    assert not kept.written
    kept.clear()
    kept.save(snapshot(1))
    assert kept.written
    kept.clear()
    assert not (tmp_path / "c").exists()
    assert resumable_step(tmp_path / "c") is None


def test_nothing_of_one_that_cannot_be_read_is_taken_for_its_successors(tmp_path: Path) -> None:
    """The best weights of a step are written once, so a broken file of that name would stay."""
    checkpoints(tmp_path / "c").save(snapshot(3, 2))
    best = tmp_path / "c" / "best-2.safetensors"
    for missing in (None, MANIFEST):
        best.write_bytes(b"broken")
        if missing:
            (tmp_path / "c" / missing).unlink()
        again = checkpoints(tmp_path / "c")
        assert again.load() is None
        again.save(snapshot(4, 2))
        found = checkpoints(tmp_path / "c").load()
        assert found is not None
        assert found.best["weights/a"].tolist() == [[2.0, 2.0]] * 3


@pytest.mark.parametrize("killed_at", range(6))
def test_a_kill_at_any_write_leaves_the_one_before(
    killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three files, each killed before and after it is in place; the process has no chance to clean up."""

    class Killed(BaseException):
        pass

    checkpoints(tmp_path / "c").save(snapshot(3, 2))
    replace, calls = Path.replace, iter(range(100))

    def killing(self: Path, target: Path) -> Path:
        call = next(calls)
        if call == killed_at // 2:
            if killed_at % 2:
                replace(self, target)
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killing)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        patch.setattr(Checkpoints, "_prune", lambda *_: None)
        with pytest.raises(Killed):
            checkpoints(tmp_path / "c").save(snapshot(6, 5))
    found = checkpoints(tmp_path / "c").load()
    assert found is not None
    whole = killed_at == 5
    assert (found.step, found.best_step) == ((6, 5) if whole else (3, 2))
    assert found.state["weights/a"][0, 0] == found.step
    assert found.best["weights/a"][0, 0] == found.best_step
    checkpoints(tmp_path / "c").save(snapshot(9, 5))
    assert files(tmp_path / "c") == ["best-5.safetensors", MANIFEST, "state-9.safetensors"]


@pytest.mark.parametrize("full_from", [0, 1, 2])
def test_a_full_disk_keeps_the_one_before_and_training(
    full_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[dict[str, Any]] = []
    kept = checkpoints(tmp_path / "c", events)
    kept.save(snapshot(3, 2))
    before = {name: (tmp_path / "c" / name).read_bytes() for name in files(tmp_path / "c")}
    save_file, write_text, calls = storage.save_file, Path.write_text, iter(range(100))

    def full() -> None:
        if next(calls) >= full_from:
            raise OSError(errno.ENOSPC, "No space left on device")

    def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"the beginning of it")
        full()
        save_file(tensors, path)

    def write(self: Path, text: str, **options: Any) -> int:
        full()
        return write_text(self, text, **options)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "save_file", save)
        patch.setattr(Path, "write_text", write)
        kept.save(snapshot(6, 5))
    assert {name: (tmp_path / "c" / name).read_bytes() for name in files(tmp_path / "c")} == before
    (event,) = events
    assert event["event"] == "warning"
    assert event["message"] == (
        "no checkpoint was written after step 6: No space left on device; the one before is kept"
    )
    kept.save(snapshot(8, 5))
    assert resumable_step(tmp_path / "c") == 8


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_error_of_the_writing_library_itself_is_no_other(tmp_path: Path) -> None:
    """The system refuses a file of this size, so it is safetensors that fails."""
    events: list[dict[str, Any]] = []
    kept = checkpoints(tmp_path / "c", events)
    kept.save(snapshot(3))
    with largest_file(100):
        kept.save(snapshot(6))
    assert [event["event"] for event in events] == ["warning"]
    assert resumable_step(tmp_path / "c") == 3
    assert kept.load() is not None


def test_other_errors_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        checkpoints(tmp_path / "c").save(Snapshot(1, {}, None, {}, {"steps": object()}))


@pytest.mark.parametrize("damaged", ["state-3.safetensors", "best-2.safetensors", MANIFEST])
def test_what_cannot_be_read_is_said_and_training_starts_anew(damaged: str, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    kept = checkpoints(tmp_path / "c", events)
    kept.save(snapshot(3, 2))
    file = tmp_path / "c" / damaged
    file.write_bytes(file.read_bytes()[:20])
    assert kept.load() is None
    assert [event["event"] for event in events] == ["warning"]
    assert "training starts anew" in events[0]["message"]
    kept.save(snapshot(5, 4))
    assert kept.load() is not None


def test_it_is_due_after_the_given_time_and_knows_the_time_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("adjudge.train.checkpoints.time.monotonic", lambda: clock[0])
    kept = checkpoints(tmp_path / "c", every_seconds=30.0)
    assert not kept.due
    clock[0] = 130.0
    assert kept.due
    kept.save(snapshot(3))
    assert not kept.due
    assert json.loads((tmp_path / "c" / MANIFEST).read_text())["seconds"] == 30.0
    clock[0] = 1000.0
    later = checkpoints(tmp_path / "c")
    later.load()
    assert later.earlier_seconds == 30.0
    clock[0] = 1007.0
    later.save(snapshot(4))
    assert json.loads((tmp_path / "c" / MANIFEST).read_text())["seconds"] == 37.0
