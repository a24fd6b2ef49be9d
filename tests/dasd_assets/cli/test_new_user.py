"""The first commands of a new user, as processes of their own, from a folder of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_from_init_to_curated_questions(tmp_path: Path) -> None:
    """Everything but a whole `dasd run`, which the end-to-end tests run."""
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

    made = dasd("run", "--select", "group:questions and not key:benchmark_questions")
    assert "raw_questions, questions [new]: done" in made
    assert "teacher_responses" not in made
    again = dasd("run", "--select", "key:raw_questions")
    assert "What key:raw_questions selects is up to date" in again
    assert json.loads(dasd("plan", "--json"))["questions"] == 61
    assert (tmp_path / "mine" / ".dasd" / "mine" / "lake" / "questions").is_dir()


def test_a_selection_of_nothing_is_refused(tmp_path: Path) -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("dasd"), "run", "--select", "key:answers"],
        env=os.environ | {"DASD_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "--select key:answers: selects no asset. Write `key:NAME`" in result.stderr
