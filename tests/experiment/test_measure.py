import json
import time

import numpy as np

from adjudge.experiment.log import RunLog
from adjudge.experiment.measure import PeakMemory, folder_bytes, hardware, versions


def test_a_peak_between_start_and_end_is_seen():
    with PeakMemory(interval_seconds=0.005) as memory:
        block = np.ones(30_000_000, dtype=np.float64)  # 240 MB, touched
        time.sleep(0.1)
        del block
    assert memory.peak_bytes - memory.start_bytes > 200_000_000


def test_the_size_of_a_folder_counts_files_below_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "y").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 8


def test_versions_and_hardware_are_json():
    assert {"python", "adjudge", "numpy"} <= versions().keys()
    found = json.loads(json.dumps(hardware()))
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 100_000_000
    assert found["cpu"]


def test_a_log_is_written_line_by_line_and_keeps_its_history(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    log({"event": "step", "loss": float("nan"), "step": 1})
    first = json.loads((tmp_path / "log.jsonl").read_text())
    assert first["loss"] is None
    assert first["seconds"] >= 0
    log.note("zwei")
    with log:
        pass
    with RunLog(tmp_path / "log.jsonl") as again:
        again.note("three")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["step", "note", "note"]
