"""`make gpu-check`, in a size that a CPU bears."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.gpu_check import parts, sections
from benchmarks.gpu_check.table import table
from dasd_assets.plan.gpu_check import SHAPE, read

SMALL = argparse.Namespace(
    device="cpu", dtype="float32", shape="small", hidden=32, layers=1, vocabulary=300, rounds=1,
    answers=2, new_tokens=4, lengths=[256], minutes=5.0,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_every_part_measures_what_its_line_says(tmp_path: Path) -> None:
    found = {"parts": {
        name: getattr(sections, function)(SMALL, **settings)
        for name, function, settings in parts.parts(SMALL)
    }}  # fmt: skip
    each = found["parts"]
    assert list(each) == [
        "machine", "isolation of packed samples", "restart", "sampling", "scoring, 256 tokens",
        "training, 256 tokens, packed", "training, 256 tokens, one sample",
    ]  # fmt: skip
    assert each["machine"]["matmul_flops_per_second"] > 0
    assert each["isolation of packed samples"]["holds"]
    assert each["restart"] == {"bitwise": True, "largest_difference": 0.0}  # CPU, one order of sums
    for name, figures in each.items():
        if "tokens" in name or name == "sampling":
            assert figures["tokens_per_second"] > 0, name
    packed, one = each["training, 256 tokens, packed"], each["training, 256 tokens, one sample"]
    assert (packed["samples"], one["samples"]) == (6, 1)
    assert 0 < one["mfu_without_attention"] < one["mfu"]
    file = tmp_path / "gpu-check.json"
    file.write_text(json.dumps({"options": {"shape": SHAPE}, **found}), encoding="utf-8")
    assert set(read(file).shares) == {"scoring", "training"}, "dasd plan --measured"
    lines = table(found).splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == len(each)


def test_a_part_that_cannot_be_run_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_gpu = argparse.Namespace(**{**vars(SMALL), "device": "cuda"})
    some = [("machine", "machine", {}), ("restart", "restart", {})]
    monkeypatch.setattr(parts, "parts", lambda options: some)
    found = parts.run(on_gpu)
    for name in ("machine", "restart"):
        assert "sees no GPU (--device cpu needs none)" in found["parts"][name]["not_run"]
    shown = table(found)
    assert "**Machine**: RuntimeError: torch" in shown
    assert "| restart |  |  |  |  | not run: RuntimeError" in shown


def test_time_that_is_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "parts", lambda options: [("restart", "restart", {})])
    found = parts.run(argparse.Namespace(**{**vars(SMALL), "minutes": 0.0}))
    assert found["parts"]["restart"]["not_run"] == ("not done within --minutes (0 for all parts)")
