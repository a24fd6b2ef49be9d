"""The graph of the active profile as a code location whose steps are killed at planned moments.

A moment is when something is about to become visible: an event of the step in Dagster's records, a
file of the lake, an answer in a journal, a line of a training. Folder FAULTS has

- `moments/<step>`: what happened in a step, a line each, of the newest attempt
- `plan/<step>`: the number of the moment at which it is to be killed, the first being 1; it is at
  its last if it has fewer, as one that has its answers still
- `killed/<step>`: at what it was, and the requests that are lost: answers that were asked for
  (`generate`) and are in no journal, and scores (`score`), which have none
- `begun`: a line for each attempt at a step
- `asked`: a line for each request to a model: step, `generate` or `score`

where a step is `<step key>[<partition>]`. Models, engines, assets and checks are the real ones;
training runs in the step's own process, and no pictures are drawn.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from support.whole_graph import InThisProcess

from dasd_assets.definitions import definitions
from dasd_assets.reporting import figures
from resources import durable
from resources.engines.inference import InferenceModel
from resources.engines.journal import Journal
from resources.engines.journal_records import encode
from resources.lake import lake as lake_module
from resources.lake import lake_files

FOLDER = "FAULTS"
CHECKED = "FAULTS_CHECKED"
"""Environment variable: with the asset checks, which take as long as all the rest."""
STEP_START = dg.DagsterEventType.STEP_START.value
STEP_END = dg.DagsterEventType.STEP_SUCCESS.value


class Watched:
    """The step that this process executes, and how far it is."""

    def __init__(self) -> None:
        self.step = ""
        self.n_moments = 0
        self.lost: set[str] = set()
        """Keys of answers that were asked for and are in no journal."""
        self.n_scored = 0

    def begin(self, step: str) -> None:
        """This process executes a step from now on."""
        self.step = step
        self._note("begun", step)
        (self._folder / "moments" / step).unlink(missing_ok=True)

    def moment(self, what: str, last_words: Callable[[], object] = lambda: None) -> None:
        """Die now, if that is planned, after some last words."""
        if not self.step:
            return
        self.n_moments += 1
        self._note(f"moments/{self.step}", what)
        plan = self._folder / "plan" / self.step
        if not plan.is_file():
            return
        if what != STEP_END and int(plan.read_text(encoding="ascii")) != self.n_moments:
            return
        last_words()
        told = {
            "at": what, "moment": self.n_moments,
            "generate": len(self.lost), "score": self.n_scored,
        }  # fmt: skip
        plan.write_text(json.dumps(told), encoding="utf-8")
        plan.rename(self._folder / "killed" / self.step)
        os.kill(os.getpid(), signal.SIGKILL)

    def asked(self, kind: str, keys: Sequence[str]) -> None:
        """Note that a model was asked for answers, or for scores, which have no keys."""
        self.lost.update(filter(None, keys))
        self.n_scored += len(keys) if kind == "score" else 0
        for _ in keys:
            self._note("asked", f"{self.step} {kind}")

    @property
    def _folder(self) -> Path:
        return Path(os.environ[FOLDER])

    def _note(self, name: str, line: str) -> None:
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


watched = Watched()


class WatchedInstance:
    """What is put in the place of `DagsterInstance.handle_new_event`."""

    real = dg.DagsterInstance.handle_new_event

    @staticmethod
    def handle_new_event(instance: dg.DagsterInstance, event: Any, **named: Any) -> None:
        """A step's event is a moment; its first one says which step this process executes."""
        found = event.dagster_event
        if found is not None and found.step_key:
            if found.event_type_value == STEP_START:
                run = instance.get_run_by_id(event.run_id)
                partition = run.tags.get("dagster/partition", "") if run else ""
                watched.begin(f"{found.step_key}[{partition}]")
            watched.moment(found.event_type_value)
        WatchedInstance.real(instance, event, **named)


class WatchedJournal:
    """What is put in the place of `Journal.append`."""

    real = Journal.append

    @staticmethod
    def append(journal: Journal, completion: Any) -> None:
        """A kill leaves half of the record."""
        record = encode(completion)
        watched.moment("answer", lambda: journal._file.write(record[: len(record) // 2]))
        WatchedJournal.real(journal, completion)
        watched.lost.discard(completion.key)


class WatchedModel(InferenceModel):
    """The real model, with every request noted."""

    @contextmanager
    def open(self, path: str | None = None) -> Iterator[Any]:
        with super().open(path) as engine:
            generate, score = engine.generate, engine.score

            def generates(requests: Sequence[Any], *rest: Any) -> Any:
                watched.asked("generate", [one.key(engine.identity) for one in requests])
                return generate(requests, *rest)

            def scores(requests: Sequence[Any], *rest: Any) -> Any:
                watched.asked("score", [""] * len(requests))
                return score(requests, *rest)

            engine.generate, engine.score = generates, scores  # type: ignore[method-assign]
            yield engine


class WatchedTrainer(InThisProcess):
    """Each line of the training is a moment."""

    def on_line(self, line: str) -> None:
        """A step, or what the program says before and after."""
        watched.moment("training")


def _publish(temporary: Path, target: Path, real: Any = durable.publish) -> None:
    watched.moment(f"publish {target.name}")
    real(temporary, target)


def _watch() -> None:
    dg.DagsterInstance.handle_new_event = (  # type: ignore[method-assign]
        lambda instance, event, **named: WatchedInstance.handle_new_event(instance, event, **named)
    )
    Journal.append = (  # type: ignore[method-assign]
        lambda journal, completion: WatchedJournal.append(journal, completion)
    )
    for module in (durable, lake_module, lake_files):
        module.publish = _publish  # type: ignore[attr-defined]
    figures.to_png = lambda *_: b""


def _watched(name: str, resource: Any) -> Any:
    if name == "trainer":
        return WatchedTrainer()
    if not isinstance(resource, InferenceModel):
        return resource
    fields = {field: getattr(resource, field) for field in InferenceModel.model_fields}
    return WatchedModel(**fields)


_watch()
built = definitions()
defs = dg.Definitions(
    assets=built.assets,
    asset_checks=built.asset_checks if os.environ.get(CHECKED) else (),
    resources={name: _watched(name, each) for name, each in (built.resources or {}).items()},
    executor=built.executor,
)
