"""The first commands of a new user, as processes of their own, from a folder of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dasd_assets.definitions import build_definitions
from dasd_assets.home import home
from dasd_assets.profile import load_profile


def test_from_init_to_curated_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but `dasd run`, which the end-to-end tests run; its first assets are made here."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("DA")}

    def dasd(*arguments: str) -> str:
        result = subprocess.run(
            [Path(sys.executable).with_name("dasd"), *arguments],
            cwd=tmp_path, env=outside, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stderr == ""
        return result.stdout

    printed = dasd("init", "mine")
    (line,) = [line for line in printed.splitlines() if line.startswith("now: ")]
    variable, value = line.removeprefix("now: ").split()[0].split("=")
    outside[variable] = value
    assert "problem" not in dasd("doctor")
    (tmp_path / "new.jsonl").write_text(
        json.dumps({"question": "What is 40 plus 2?", "domain": "math", "answer": "42"})
    )
    assert "added" in dasd("add-questions", "new.jsonl")
    assert json.loads(dasd("plan", "--json"))["questions"] == 61
    assert "not registered yet: example, new" in dasd("status")
    assert not (tmp_path / ".dasd").exists()

    monkeypatch.delenv("DASD_HOME", raising=False)
    profile = load_profile(str(tmp_path / value))
    definitions = build_definitions(profile, home(profile))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["example", "new"])
        assets = [definitions.resolve_assets_def(name) for name in ("raw_questions", "questions")]
        for shard in ("example", "new"):
            assert dg.materialize(assets, instance=instance, partition_key=shard).success
    assert json.loads(dasd("plan", "--json"))["questions"] == 61
    assert (tmp_path / "mine" / ".dasd" / "mine" / "lake" / "questions").is_dir()
