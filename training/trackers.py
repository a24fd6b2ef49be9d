"""Trackers that a training reports to: TensorBoard always, MLflow and Weights & Biases where asked.

The callbacks are transformers' own, which read the environment: keys and addresses stand there and
nowhere else. Rank 0 alone reports. A tracker that fails is left alone from then on, with a warning;
training goes on.

A run that was killed goes on in its own curves. TensorBoard's event files are kept in the restart
points and are those of the steps before, to the byte. In MLflow and W&B the run is opened again by
its id, and steps that the killed run has already reported are not reported twice.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import MLflowCallback, TensorBoardCallback, WandbCallback

from formats.checkpoint_folder import LOG, TENSORBOARD, partial_folder, restart_folder
from training.errors import TrainingError
from training.progress import Report
from training.settings import Tracker

PACKAGES: Mapping[Tracker, str] = {"mlflow": "mlflow-skinny", "wandb": "wandb"}
"""What to install; the whole of `mlflow` does as well."""
CALLBACKS = {"mlflow": MLflowCallback, "wandb": WandbCallback}
WITHOUT_KEY = ("offline", "disabled", "dryrun")
"""Values of WANDB_MODE with which W&B asks no server."""
RUN_IDS = "trackers.json"
"""In the folder of restart points: tracker -> id of its run, and the last step they were told."""
TOLD = "last_step"
DEFAULT_PROJECT = "dasd"


def missing(report_to: Sequence[Tracker], environment: Mapping[str, str]) -> Iterator[str]:
    """What a tracker lacks, each with what to do."""
    for name in report_to:
        if find_spec(name) is None:
            yield (
                f"report_to has {name}, whose package is not installed: install {PACKAGES[name]}, "
                f"or take {name} out of report_to"
            )
    if "mlflow" in report_to and not environment.get("MLFLOW_TRACKING_URI"):
        yield (
            "report_to has mlflow, but MLFLOW_TRACKING_URI is not set: set it to the server's "
            "address, or to a database such as sqlite:////data/mlflow.db"
        )
    has_key = environment.get("WANDB_API_KEY") or environment.get("WANDB_MODE") in WITHOUT_KEY
    if "wandb" in report_to and not has_key:
        yield (
            "report_to has wandb, but WANDB_API_KEY is not set: set it in the environment (never "
            "in a profile), or WANDB_MODE=offline to keep the run on this machine"
        )


def check_trackers(report_to: Sequence[Tracker]) -> None:
    """Refuse a start that could not report where it has to.

    Raises:
        TrainingError: a package or a key is missing, with what to install or set.
    """
    if problems := list(missing(report_to, os.environ)):
        raise TrainingError("; ".join(problems))


def environment(
    report_to: Sequence[Tracker],
    tags: Mapping[str, str],
    run_ids: Mapping[str, str | int],
    given: Mapping[str, str],
    report: Report,
) -> dict[str, str]:
    """What the callbacks read beside what the user has set.

    Args:
        report_to: trackers that are asked for: of others nothing is read.
        tags: of the run.
        run_ids: tracker -> id of the run to go on in.
        given: the environment; what it names is not changed, but for what makes this run.
    """
    project = tags.get("profile") or DEFAULT_PROJECT
    made = {
        "WANDB_TAGS": ",".join(
            [*filter(None, [given.get("WANDB_TAGS")]), *(f"{k}:{v}" for k, v in tags.items())]
        ),
        # Weights stay in the lake; W&B's way to save them would wait for ranks that do not come.
        "WANDB_LOG_MODEL": "false",
        "HF_MLFLOW_LOG_ARTIFACTS": "FALSE",
        "MLFLOW_EXPERIMENT_NAME": given.get("MLFLOW_EXPERIMENT_NAME") or project,
        "WANDB_PROJECT": given.get("WANDB_PROJECT") or project,
    }
    if "mlflow" in report_to:
        made["MLFLOW_TAGS"] = json.dumps({**_own_tags(given, report), **tags})
    if "mlflow" in run_ids:
        made["MLFLOW_RUN_ID"] = str(run_ids["mlflow"])
    if "wandb" in run_ids:
        made |= {"WANDB_RUN_ID": str(run_ids["wandb"]), "WANDB_RESUME": "allow"}
    return made


def _own_tags(given: Mapping[str, str], report: Report) -> dict[str, Any]:
    """The user's own tags for MLflow."""
    stored = given.get("MLFLOW_TAGS") or "{}"
    try:
        found = json.loads(stored)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    report(f"warning: MLFLOW_TAGS is {stored!r} and no JSON object: none of it is used")
    return {}


def run_name(tags: Mapping[str, str], output_dir: Path) -> str:
    """How trackers list the run: profile, stage and key of the checkpoint, or its folder's name."""
    named = [tags[tag] for tag in ("profile", "stage", "checkpoint_key") if tags.get(tag)]
    return "/".join(named) or output_dir.name


class Tracked(TrainerCallback):
    """One tracker's callback, which can fail and does not see what it has been told before."""

    def __init__(
        self,
        name: str,
        make: Callable[[], TrainerCallback],
        report: Report,
        *,
        told: int = 0,
        run_ids: Path | None = None,
    ) -> None:
        """
        Args:
            make: makes the callback, as training begins; that can fail, too.
            told: the last step that the tracker has of this run.
            run_ids: where the id of its run is kept; None: it has none.
        """
        self._name = name
        self._make = make
        self._callback: Any = None
        self._report = report
        self._told = told
        self._run_ids = run_ids
        self._has_failed = False

    def on_train_begin(self, *arguments: Any, **about: Any) -> None:
        self._try(self._begin, *arguments, **about)
        if self._run_ids:
            self._try(self._keep_run_id, self._run_ids)

    def on_log(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        if state.global_step > self._told:
            self._try(lambda: self._callback.on_log(args, state, control, **about))

    def on_train_end(self, *arguments: Any, **about: Any) -> None:
        self._try(lambda: self._callback.on_train_end(*arguments, **about))
        if self._name == "wandb":  # which its callback leaves open
            self._try(importlib.import_module("wandb").finish)

    def _begin(self, *arguments: Any, **about: Any) -> None:
        self._callback = self._make()
        self._callback.on_train_begin(*arguments, **about)

    def _keep_run_id(self, file: Path) -> None:
        module: Any = importlib.import_module(self._name)
        run_id = module.active_run().info.run_id if self._name == "mlflow" else module.run.id
        file.write_text(json.dumps({**read_run_ids(file), self._name: run_id}), encoding="utf-8")

    def _try(self, call: Callable[..., Any], *arguments: Any, **about: Any) -> None:
        if self._has_failed:
            return
        try:
            call(*arguments, **about)
        except Exception as error:
            self._has_failed = True
            cause = next(iter(str(error).splitlines()), "")
            self._report(
                f"warning: the tracker {self._name} gets no more of this run, it failed with "
                f"{type(error).__name__}: {cause}. Training goes on; every step is in {LOG}"
            )


def trackers(
    report_to: Sequence[Tracker],
    tags: Mapping[str, str],
    output_dir: Path,
    report: Report,
    told: int,
) -> list[Tracked]:
    """The callbacks of rank 0; sets the environment that they read.

    Args:
        told: the last step that the run before has logged, as `last_logged_step`.
    """
    from torch.utils.tensorboard import SummaryWriter

    file = restart_folder(output_dir) / RUN_IDS
    writer = SummaryWriter(str(partial_folder(output_dir) / TENSORBOARD))
    os.environ.update(environment(report_to, tags, read_run_ids(file), os.environ, report))
    told = told_so_far(file, told)
    return [
        Tracked(TENSORBOARD, lambda: TensorBoardCallback(writer), report),
        *(
            Tracked(name, CALLBACKS[name], report, told=told, run_ids=file)
            for name in dict.fromkeys(report_to)
        ),
    ]


def last_logged_step(output_dir: Path) -> int:
    """The last step in the log of a killed run; 0: none. Before its folder is made anew."""
    try:
        lines = (partial_folder(output_dir) / LOG).read_text(encoding="utf-8").splitlines()
        return max(json.loads(line)["step"] for line in lines if line.endswith("}"))
    except (FileNotFoundError, ValueError):
        return 0


def told_so_far(file: Path, logged: int) -> int:
    """The last step that trackers have of a run, which may have been killed more than once.

    The log of the run before begins at a restart point: what it had not reached again when it was
    killed, the one before it had told.

    Args:
        file: where it is kept, beside the ids.
        logged: by the run before.
    """
    kept = read_run_ids(file)
    told = max(logged, int(kept.get(TOLD, 0)))
    file.write_text(json.dumps({**kept, TOLD: told}), encoding="utf-8")
    return told


def read_run_ids(file: Path) -> dict[str, str | int]:
    """Tracker -> id of its run, and TOLD; empty where there is none, or the file is torn."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def keep_events(output_dir: Path, restart_point: Path) -> None:
    """Put TensorBoard's files so far into a restart point: one file, or TensorBoard shows them."""
    events = partial_folder(output_dir) / TENSORBOARD
    if events.is_dir():
        shutil.make_archive(str(restart_point / TENSORBOARD), "tar", events)


def restore_events(restart_point: Path, output_dir: Path) -> None:
    """Go on with the curves as they were at a restart point."""
    kept = restart_point / f"{TENSORBOARD}.tar"
    if kept.is_file():
        shutil.unpack_archive(kept, partial_folder(output_dir) / TENSORBOARD, filter="data")
