"""Who may import whom: pure modules know nothing of Dagster, definitions load no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

DAGSTER_MODULES = {
    "dasd_assets/declare.py",
    "dasd_assets/automation.py",
    "dasd_assets/definitions.py",
    "dasd_assets/graph.py",
    "dasd_assets/jobs.py",
    "dasd_assets/local_executor.py",
    "dasd_assets/local_run.py",
    "dasd_assets/local_run_launcher.py",
    "dasd_assets/out_of_date.py",
    "dasd_assets/measured.py",
    "dasd_assets/open_lake.py",
    "dasd_assets/partitions.py",
    "dasd_assets/patient_postgres.py",
    "dasd_assets/pools.py",
    "dasd_assets/ray_executor.py",
    "dasd_assets/evaluation/costs.py",
    "dasd_assets/evaluation/stage_report.py",
    "dasd_assets/questions/sensors.py",
    "dasd_assets/reference/__main__.py",
    "dasd_assets/reference/shaped_by.py",
    "dasd_assets/release/history.py",
    "dasd_assets/release/publish.py",
    "dasd_assets/temperature_scheduled_learning/stage.py",
    "resources/bucket_lake.py",
    "resources/inference.py",
    "resources/lake.py",
    "resources/training.py",
}
"""Beside the assets.py files, checks/ and the command line: modules whose purpose is Dagster."""


def modules(*folders: str) -> list[str]:
    return sorted(
        str(file.relative_to(ROOT)) for folder in folders for file in (ROOT / folder).rglob("*.py")
    )


def imported(file: str) -> set[str]:
    """Full names of all modules a file imports, at whatever depth in the file."""
    names = set()
    todo: list[ast.AST] = [ast.parse((ROOT / file).read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        todo += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def reached(file: str) -> set[str]:
    """Project modules that importing a file brings along, and everything they import."""
    seen: set[str] = set()
    names: set[str] = set()
    todo = [file]
    while todo:
        this = todo.pop()
        if this in seen:
            continue
        seen.add(this)
        for name in imported(this):
            names.add(name)
            path = name.replace(".", "/")
            todo += [p for p in (f"{path}.py", f"{path}/__init__.py") if (ROOT / p).is_file()]
    return names


def is_dagster(name: str) -> bool:
    return name == "dagster" or name.startswith("dagster.")


PURE = [
    file
    for file in modules("dasd_assets", "resources")
    if file not in DAGSTER_MODULES and not file.endswith("/assets.py") and "/cli/" not in file
]


@pytest.mark.parametrize("file", PURE)
def test_a_pure_module_does_not_reach_dagster(file: str) -> None:
    assert not [name for name in reached(file) if is_dagster(name)]


@pytest.mark.parametrize("file", modules("training"))
def test_training_does_not_reach_dagster(file: str) -> None:
    assert not [name for name in reached(file) if is_dagster(name)]


@pytest.mark.parametrize("file", modules("resources"))
def test_resources_import_neither_assets_nor_checks(file: str) -> None:
    assert not [name for name in imported(file) if name.split(".")[0] in {"dasd_assets", "checks"}]


def test_the_list_of_dagster_modules_is_exact() -> None:
    assert not [file for file in DAGSTER_MODULES if not any(map(is_dagster, reached(file)))]


def printed(program: str) -> str:
    """What a program prints in a Python that has imported nothing yet."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_definitions_load_no_model_library() -> None:
    program = (
        "import sys, dasd_assets.definitions\n"
        "heavy = {'torch', 'transformers', 'vllm', 'deepspeed', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    assert printed(program) == "[]"


@pytest.mark.parametrize(("imported_at", "again"), [("time.time()", False), ("0", True)])
def test_a_run_takes_modules_that_changed_as_they_are_now(imported_at: str, again: bool) -> None:
    program = (
        "import time\n"
        "from dasd_assets import graph as before, local_run\n"
        f"local_run._imported_at = {imported_at}\n"
        "local_run.forget_changed_modules()\n"
        "from dasd_assets import graph as now, local_executor\n"
        "print(now is not before, now.BOXES[0] is not before.BOXES[0])\n"
        "print(local_executor.local_run is local_run)"  # it knows that the process is a run's
    )
    assert printed(program) == f"{again} {again}\nTrue"


def test_what_steps_are_forked_from_touches_no_gpu() -> None:
    """Else CUDA would have chosen its GPUs before the step says which ones it holds."""
    program = (
        "import importlib, torch\n"
        "asked = []\n"
        "for name in ('is_available', 'device_count', 'init', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, lambda *a, name=name: asked.append(name) or 0)\n"
        "from dasd_assets.local_run import LIBRARIES\n"
        "for module in ('dasd_assets.definitions', *LIBRARIES): importlib.import_module(module)\n"
        "print(asked)"
    )
    assert printed(program) == "[]"
