import errno
from pathlib import Path

import pytest

from adjudge.core.atomic import atomic_path, read_json, write_json, write_text


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_with_its_folders_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "ไทย\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ไทย\n".encode()
    assert only(tmp_path / "a") == ["b.txt"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "old")
    with pytest.raises(OSError, match="No space"), atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (tmp_path / "x.txt").read_text() == "old"
    assert only(tmp_path) == ["x.txt"]


def test_the_name_does_not_exist_while_it_is_written(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "x.txt").exists()
    assert (tmp_path / "x.txt").read_text() == "new"


def test_a_folder_replaces_a_folder_whole(tmp_path: Path) -> None:
    for names in (["a", "b"], ["c"]):
        with atomic_path(tmp_path / "model") as temporary:
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(name)
    assert only(tmp_path / "model") == ["c"]
    assert only(tmp_path) == ["model"]


def test_a_folder_that_fails_half_way_keeps_the_old_one(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("new")
        raise RuntimeError
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert only(tmp_path) == ["model"]


def test_an_interrupt_is_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert only(tmp_path) == []


def test_json_round_trip_keeps_every_script(tmp_path: Path) -> None:
    value = {"ไทย": [1, 2.5, None, True, "🙂"]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert "ไทย" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused_and_the_old_file_stays(tmp_path: Path, number: float) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": number})
    assert read_json(tmp_path / "x.json") == {"old": 1}
