"""What the shell offers on Tab: names that can be had without loading Dagster or a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dasd_assets.profile import PROFILE_FOLDER, ProfileError
from dasd_assets.profile.home import active_profile, home, lake_folder

MAX_IDS = 50


def profiles(incomplete: str) -> list[str]:
    """Shipped profiles; paths are the shell's own business."""
    names = sorted(file.stem for file in PROFILE_FOLDER.glob("*.yaml"))
    return [name for name in names if name.startswith(incomplete)]


def layouts(incomplete: str) -> list[str]:
    """Layouts of question drops in the active profile."""
    with suppress(ProfileError):
        names = active_profile().questions.layouts
        return [name for name in names if name.startswith(incomplete)]
    return []


def assets(incomplete: str) -> list[str]:
    """Assets that have checks: all but the models and the report."""
    from dasd_assets.profile.data_contracts import CONTRACTS
    from resources.lake.tables import evaluation

    of_students = ("student_training_set", "student_checkpoint")
    below = {*evaluation.TABLES, *of_students}
    names = [asset for asset in CONTRACTS if asset not in below]
    with suppress(ProfileError):
        names += [
            f"{asset}/{student}" for student in active_profile().students for asset in of_students
        ]
    names += [
        f"{asset}/{checkpoint}"
        for asset in evaluation.TABLES
        for checkpoint in evaluation.CHECKPOINTS[asset != "evaluation" :]
    ]
    return [name for name in names if name.startswith(incomplete)]


def sample_ids(incomplete: str) -> list[str]:
    """Ids of answers and questions in the training samples, for `dasd trace`."""
    with suppress(ProfileError, OSError):
        profile = active_profile()
        lake = lake_folder(profile, home(profile))
        return sorted(set(_ids(lake / "divergence_sample", incomplete)))[:MAX_IDS]
    return []


def _ids(table: Path, incomplete: str) -> Iterator[str]:
    import pyarrow.parquet as pq

    column = "question_id" if incomplete.startswith("q") else "response_id"
    for file in sorted(table.rglob("data.parquet")):
        for name in pq.read_table(file, columns=[column])[column].to_pylist():
            if name.startswith(incomplete):
                yield name
