"""`dasd doctor`: each problem is found, told with its remedy, and no end of the other checks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support.faulty_server import FaultyServer
from typer.testing import CliRunner, Result

from dasd_assets.cli import doctor as module
from dasd_assets.cli import doctor_machine, doctor_pipeline
from dasd_assets.cli.doctor_machine import OK, PROBLEM, WARNING
from dasd_assets.cli.main import app
from dasd_assets.cli.prepare import prepare
from dasd_assets.profile import PROJECT_ROOT, Profile, load_profile
from dasd_assets.verification.sandbox import SandboxError

pytestmark = pytest.mark.slow


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def results(check: Callable[[Profile], Iterator[Any]], project: Path) -> list[tuple[str, str, str]]:
    profile = load_profile(str(project / "profile.yaml"))
    return [(r.level, r.found, r.remedy) for r in module.examined(check, profile)]


def change(project: Path, section: str, **values: Any) -> None:
    file = project / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings[section] |= values
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def with_gpus(monkeypatch: pytest.MonkeyPatch, *gib: float) -> None:
    monkeypatch.setattr(doctor_machine, "gpu_memories", lambda: list(gib))


def test_a_new_project_is_healthy(project: Path) -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "problem" not in result.output
    for about in ("python", "packages", "gpus", "memory", "models", "sandbox", "write access",
                  "disk", "dagster", "inbox"):  # fmt: skip
        assert f"ok      {about}: " in result.output


def test_a_problem_has_a_remedy_exit_code_1_and_stops_no_other_check(project: Path) -> None:
    (project / "inbox" / "example.jsonl").unlink()
    change(project, "teacher", path="no/such/model")
    result = doctor("--json")
    assert result.exit_code == 1
    told = {(line["about"], line["level"]): line for line in json.loads(result.stdout)}
    assert "no/such/model" in told["models", PROBLEM]["found"]
    assert told["inbox", PROBLEM]["remedy"] == "dasd add-questions FILE"
    assert ("sandbox", OK) in told


def test_a_check_that_breaks_is_a_problem_itself(project: Path) -> None:
    def broken(profile: Profile) -> Iterator[Any]:
        raise RuntimeError("no idea")
        yield

    assert results(broken, project) == [
        (PROBLEM, "could not be examined: RuntimeError: no idea", "")
    ]


def test_packages_that_differ_or_are_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = doctor_machine.installed_version
    found = {"duckdb": "1.0.0", "rich": None, "pytest": None}
    monkeypatch.setattr(
        doctor_machine,
        "installed_version",
        lambda name: found[name] if name in found else real(name),
    )
    (duckdb, rich, counted) = results(doctor_machine.packages, project)
    assert duckdb[0] == WARNING
    assert duckdb[1].startswith("duckdb 1.0.0, tested with ")
    assert rich[0] == PROBLEM
    assert rich[1].endswith("is not installed")
    assert counted[0] == OK  # a tool of the tests alone may be missing


def test_another_python_is_a_problem(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor_machine, "metadata", lambda name: {"Requires-Python": ">=3.11,<3.14"}
    )
    for version, level, found in (
        ((3, 10, 9), PROBLEM, "3.10.9, but it is made for <3.14,>=3.11"),
        ((3, 11, 7), OK, "3.11.7"),
        ((3, 13, 2), OK, "3.13.2"),
        ((3, 14, 0), PROBLEM, "3.14.0, but it is made for <3.14,>=3.11"),
    ):
        monkeypatch.setattr("sys.version_info", (*version, "final", 0))
        assert results(doctor_machine.python, project)[0][:2] == (level, found)


def test_gpus_against_what_is_declared(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    assert results(doctor_machine.gpus, project) == [(OK, "none declared, none found", "")]
    change(
        project, "compute",
        teacher_inference={"gpus": 2, "gpu_memory_gib": 80},
        training={"gpus": 4, "gpu_memory_gib": 40},
    )  # fmt: skip
    levels = [level for level, _, _ in results(doctor_machine.gpus, project)]
    assert levels == [PROBLEM, PROBLEM]
    with_gpus(monkeypatch, 40.0, 40.0)
    found = results(doctor_machine.gpus, project)
    assert [level for level, _, _ in found] == [OK, WARNING, PROBLEM, PROBLEM]
    assert "compute.teacher_inference declares 80 GiB a GPU, there are 40" in found[1][1]
    assert "compute.training declares 4 GPU(s), this machine has 2" in found[2][1]
    assert "torch" in found[3][1]  # a CPU build, which sees none of them
    assert "--torch-backend=auto" in found[3][2]


def test_the_cluster_that_training_goes_to_is_looked_at(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That a real Ray cluster has room, and has not: tests/training/test_on_ray.py."""
    assert results(doctor_pipeline.machines, project) == []
    change(project, "compute", training={"machines": 2})
    change(project, "temperature_scheduled_learning", processes=2, micro_batch_size=1)
    change(project, "mixed_policy_distillation", training={"processes": 2})
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    ((level, found, remedy),) = results(doctor_pipeline.machines, project)
    assert (level, found[:31]) == (PROBLEM, "no Ray cluster was reached: Fai")
    assert "RAY_API_SERVER_ADDRESS" in remedy
    change(project, "compute", training={"machines": 2, "slurm": {}})
    monkeypatch.setenv("PATH", str(tmp_path))
    ((level, found, _),) = results(doctor_pipeline.machines, project)
    assert (level, found) == (PROBLEM, "sbatch and srun not found on this machine")


def test_the_driver_is_asked_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*arguments: Any, **options: Any) -> Any:
        return SimpleNamespace(stdout="81559\n81559\n")

    monkeypatch.setattr(subprocess, "run", told)
    assert doctor_machine.gpu_memories() == [81559 / 1024] * 2

    def missing(*arguments: Any, **options: Any) -> Any:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    assert doctor_machine.gpu_memories() == []


def test_memory_that_is_not_there(project: Path) -> None:
    change(project, "compute", training={"memory_gib": 100_000})
    ((level, found, _),) = results(doctor_machine.memory, project)
    assert level == PROBLEM
    assert "compute.training declares 100000" in found


def test_an_engine_that_is_not_installed_or_has_no_gpu(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(project, "teacher", engine={"kind": "vllm"})
    change(project, "base_student", engine={"kind": "transformers", "device": "cuda"})
    with_gpus(monkeypatch)
    monkeypatch.setattr(doctor_machine, "installed_version", lambda name: None)
    texts = [f for level, f, _ in results(doctor_pipeline.models, project) if level == PROBLEM]
    assert texts == [
        "teacher: vLLM is not installed",
        "base_student: engine.device is cuda, and there is no GPU",
    ]


def test_a_teacher_whose_format_is_not_known(project: Path) -> None:
    change(project, "teacher", path="tiny_world/models/student")
    level, found, remedy = results(doctor_pipeline.models, project)[0]
    assert (level, remedy) == (PROBLEM, "see `dasd docs bring-your-own-teacher`")
    assert "the format of its answers was not found" in found
    assert "Name it: format.name is" in found


def test_a_further_student_that_is_not_there(project: Path) -> None:
    file = project / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["students"] = {"other": {"path": "no/such/student"}}
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    level, found, _ = results(doctor_pipeline.models, project)[-1]
    assert level == PROBLEM
    assert found.startswith("students.other: no/such/student: no such model folder")


def test_packages_that_the_training_settings_ask_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((level, _, _),) = results(doctor_pipeline.training, project)
    assert level == OK
    settings = {"liger_kernel": True, "attention": "flash_attention_2", "dtype": "bfloat16"}
    change(project, "temperature_scheduled_learning", **settings, micro_batch_size=1)
    monkeypatch.setattr(doctor_machine, "installed_version", lambda name: None)
    assert results(doctor_pipeline.training, project) == [
        (PROBLEM, "liger-kernel is not installed",
         "install liger-kernel, or set liger_kernel: false"),
        (PROBLEM, "flash-attn is not installed", "install flash-attn, or set attention: sdpa"),
    ]  # fmt: skip


def test_what_the_trackers_of_the_training_settings_lack(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(project, "temperature_scheduled_learning", report_to=["mlflow"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("training.trackers.find_spec", lambda name: name)
    ((level, found, todo),) = results(doctor_pipeline.training, project)
    assert (level, found) == (PROBLEM, "report_to has mlflow, but MLFLOW_TRACKING_URI is not set")
    assert todo.startswith("set it to the server's address, or to a database")

    profile = load_profile(str(project / "profile.yaml"))
    training = profile.compute.training.model_copy(update={"machines": 2})
    compute = profile.compute.model_copy(update={"training": training})
    on_ray = profile.model_copy(update={"compute": compute})
    (warned,) = doctor_pipeline.training(on_ray)
    assert (warned.level, warned.found) == (WARNING, f"{found} here")
    assert warned.remedy.startswith(
        "on the nodes of the Ray cluster, set it to the server's address"
    )


def test_a_server_is_asked_for_its_models_and_for_no_token(project: Path) -> None:
    from transformers import AutoTokenizer

    teacher = PROJECT_ROOT / "tiny_world" / "models" / "teacher"
    with closing(FaultyServer(AutoTokenizer.from_pretrained(teacher))) as server:
        seen: list[dict[str, Any]] = []
        server.fault = lambda body, attempt: seen.append(body)
        engine = {"kind": "openai", "base_url": server.base_url, "served_model": server.model}
        change(project, "teacher", engine=engine)
        found = results(doctor_pipeline.models, project)
        assert [level for level, _, _ in found] == [OK, OK, OK]
        assert f"has {server.model}" in found[1][1]
        down = "http://127.0.0.1:9/v1"
        several = {k: v for k, v in engine.items() if k != "base_url"}
        several |= {"base_urls": [server.base_url, down], "max_attempts": 1}
        change(project, "teacher", engine=several)
        _, answers, left_out, _ = results(doctor_pipeline.models, project)
        assert (answers[0], left_out[0]) == (OK, WARNING)
        assert f"{down} is left out" in left_out[1]
        change(project, "teacher", engine={**engine, "served_model": "another"})
        wrong = results(doctor_pipeline.models, project)[1]
        assert wrong[0] == PROBLEM
        assert "does not have the model 'another'" in wrong[1]
        assert seen
        assert all(set(body) == {"path"} for body in seen)  # every request was a GET


def test_a_server_that_is_not_there(project: Path) -> None:
    engine = {
        "kind": "openai", "base_url": "http://127.0.0.1:9/v1", "served_model": "m",
        "max_attempts": 1,
    }  # fmt: skip
    change(project, "teacher", engine=engine)
    level, found, remedy = results(doctor_pipeline.models, project)[1]
    assert (level, remedy[:16]) == (PROBLEM, "start the server")
    assert "no usable server at http://127.0.0.1:9/v1" in found


def test_without_bubblewrap(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: Any) -> Any:
        raise SandboxError("there is no `bwrap` on this machine: install it")

    monkeypatch.setattr("dasd_assets.verification.sandbox.run_tests", missing)
    ((level, found, remedy),) = results(doctor_machine.sandbox, project)
    assert level == PROBLEM
    assert "install it" in found
    assert "domain code" in remedy


def test_a_folder_that_cannot_be_written_to(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "a-file").write_text("")
    monkeypatch.setenv("DASD_HOME", str(project / "a-file" / "below"))
    ((level, found, remedy),) = results(doctor_machine.write_access, project)
    assert (level, remedy) == (PROBLEM, "set DASD_HOME to a folder of yours")
    assert "Not a directory" in found


@pytest.mark.parametrize(("free", "level"), [(99, PROBLEM), (110, WARNING), (130, OK)])
def test_disk_against_the_plan(
    project: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    plan = SimpleNamespace(disk_bytes=100)
    monkeypatch.setattr("dasd_assets.cli.plan.make_plan", lambda *arguments: plan)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    ((found, text, _),) = results(doctor_machine.disk, project)
    assert found == level, text


def test_an_instance_that_does_not_open(project: Path) -> None:
    prepare()
    assert [level for level, _, _ in results(doctor_pipeline.dagster, project)] == [OK]
    folder = project / ".dasd" / "my-project" / "dagster"
    for database in folder.rglob("*.db"):
        database.write_bytes(b"not a database" * 100)
    ((level, found, _),) = results(doctor_pipeline.dagster, project)
    assert level == PROBLEM
    assert "SQLite database is damaged" in found
    assert "move it away" in found


def test_names_in_the_inbox_that_cannot_be_shards_are_warnings(project: Path) -> None:
    (project / "inbox" / "a b.jsonl").write_text("")
    found = results(doctor_pipeline.inbox, project)
    assert [level for level, _, _ in found] == [WARNING, OK]
    assert "Rename the file" in found[0][1]
