"""`dasd plan`: counts the inbox, takes quantities, says where each is from, ends with a code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from dasd_assets.plan.quantities import Quantity
from dasd_assets.profile import PROJECT_ROOT, PlanSettings


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    result = plan(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_inbox_is_counted_and_tables_are_plain(project: Path) -> None:
    result = plan()
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("my-project: 60 questions in 1 question_shard(s)")
    (teacher,) = [line for line in result.stdout.splitlines()
                  if line.startswith("teacher_responses") and " low " in line]  # fmt: skip
    assert teacher.split()[:6] == ["teacher_responses", "low", "1", "240", "240", "38,400"]
    assert "assumed: half of max_tokens" in result.stdout
    assert not {"─", "│", "\x1b"} & set(result.stdout)
    assert not list((project / ".dasd").rglob("lake"))  # a plan makes nothing


def test_unusable_rows_are_not_counted(project: Path) -> None:
    with (project / "inbox" / "example.jsonl").open("a", encoding="utf-8") as drop:
        drop.write("no json\n")
    assert told()["questions"] == 60


def test_options_go_before_all_else(project: Path) -> None:
    made = told(
        "--questions", "1000", "--mean-answer-tokens", "low=50", "--mean-answer-tokens",
        "high=80", "--teacher-tokens-per-second", "100", "--kept-share", "0.5",
    )  # fmt: skip
    assert made["questions"] == 1000
    by_name = {(asset["asset"], asset["part"]): asset for asset in made["assets"]}
    teacher = by_name["teacher_responses", "high"]
    assert (teacher["requests"], teacher["tokens"]) == (4000, 320_000)
    assert teacher["hours"] == pytest.approx(320_000 / 100 / 3600)
    assert by_name["filtered_responses", "low"]["rows"] == 2000
    sources = {quantity["name"]: quantity["source"] for quantity in made["quantities"]}
    assert sources["mean_answer_tokens.low"] == sources["kept_share.high"] == "option"
    assert made["totals"]["hours"] is None  # nobody knows the student's speed


def test_another_profile_than_the_active_one(project: Path) -> None:
    made = told("--profile", "dasd-4b")
    assert (made["profile"], made["questions"]) == ("dasd-4b", 335_300)
    assert made["question_shards"] == 99


def test_an_announced_number_is_shared_out_as_the_profiles_domains() -> None:
    assert told("--profile", "dasd-4b", "--questions", "3353")["questions_by_domain"] == {
        "math": 1050, "code": 928, "science": 663, "instruction_following": 712,
    }  # fmt: skip


def test_lengths_by_domain_need_questions_by_domain(project: Path) -> None:
    file = project / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["plan"] = {"questions": 7, "mean_answer_tokens": {"low": {"math": 9}}}
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    result = plan()
    assert result.exit_code == 2
    assert "7 questions, but of which domain? plan.mean_answer_tokens is by domain" in " ".join(
        result.stderr.split()
    )
    # Of questions that are there, the domain is known.
    del settings["plan"]["questions"]
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    counted = told()["questions_by_domain"]
    assert sum(counted.values()) == 60
    assert f"{counted['math']} of math" in plan().stdout.splitlines()[0]


def test_a_setting_that_cannot_work_is_exit_code_1(project: Path) -> None:
    file = project / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["teacher"]["engine"] = {"kind": "vllm", "tensor_parallel_size": 4}
    settings["compute"]["teacher_inference"] = {"gpus": 2, "gpu_memory_gib": 80}
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    result = plan()
    assert result.exit_code == 1
    assert "problem: teacher.engine: tensor_parallel_size 4, but 2 GPUs are" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mean-answer-tokens", "low=many"], "mean_answer_tokens.low.number: Input should be"),
        (["--mean-answer-tokens", "low"], "mean_answer_tokens.low.number: "),
        (["--mean-answer-tokens", "lo=9"], "lo, which is none of teacher_responses.temperatures: "),
        (["--questions", "0"], "--questions"),
        (["--kept-share", "2"], "--kept-share"),
        (["--profile", "nope"], "nope: no such profile"),
    ],
)
def test_bad_figures_are_refused(project: Path, arguments: list[str], message: str) -> None:
    result = plan(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_without_questions_it_says_how_to_plan_nevertheless(project: Path) -> None:
    (project / "inbox" / "example.jsonl").unlink()
    result = plan()
    assert result.exit_code == 2
    assert "say --questions N" in result.stderr
    (project / "inbox").rmdir()
    result = plan()
    assert result.exit_code == 2
    assert "--questions N" in result.stderr
    assert plan("--questions", "5").exit_code == 0


def test_what_each_part_measured_is_one_line() -> None:
    from dasd_assets.cli.plan_page import quantity_lines

    quantities = [
        Quantity("rate (a low)", 3.0, "t/s", "measured"), Quantity("prompt", None, "", "not given"),
        Quantity("rate (a high)", 1.5, "t/s", "measured"),
        Quantity("rate (b)", 9.0, "t/s", "measured"),
    ]  # fmt: skip
    assert list(quantity_lines(quantities)) == [
        ("prompt", None, "", "not given"),
        ("rate (b)", "9", "t/s", "measured"),
        ("rate, each", "1.5 to 3", "t/s", "measured"),
    ]


def test_the_plan_in_the_documents_is_the_real_one() -> None:
    text = (PROJECT_ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    result = plan("--profile", "dasd-4b", "--price-per-gpu-hour", "2.5")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    # How much disk is free differs from machine to machine.
    printed = "\n".join(line for line in lines if not line.startswith("warning: disk"))
    assert printed.strip() in text


def test_the_documents_name_every_setting_of_the_plan() -> None:
    text = (PROJECT_ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    assert [name for name in PlanSettings.model_fields if f"`{name}`" not in text] == []
