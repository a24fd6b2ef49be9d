"""Makes one partition of stub answers in children that can be killed at any moment.

    python -m support.sampling_children ROOT

Each line on stdin forks a child from this process, which has all imports done; the child's pid is
printed, and when it ends, its exit code. A child samples what the journal lacks and writes the
partition. It notes what it is asked in `ROOT/asked`, and in `ROOT/durable` what the journal took.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from support.stub_engine import IDENTITY, StubEngine, answer

from dasd_assets.teacher_responses.sampling import sample_responses
from resources.engines.protocol import Completion, GenerationRequest, ProgressCallback
from resources.lake.lake import Lake
from resources.lake.tables.questions import QUESTIONS

CELL = {"temperature": "high", "question_shard": "drop-01"}
N_QUESTIONS, N_SAMPLES = 260, 4
N_REQUESTS = N_QUESTIONS * N_SAMPLES
MEAN_TOKENS = 300
SECONDS_BETWEEN_ANSWERS = 0.0005


class NotingEngine(StubEngine):
    """Answers one by one in an order of its own, and notes on disk what it was asked."""

    def __init__(self, root: Path) -> None:
        super().__init__(mean_tokens=MEAN_TOKENS)
        self._root = root

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        keys = [request.key(IDENTITY) for request in requests]
        note = self._root / "asked" / f"{time.time_ns()}.part"
        note.write_text("\n".join(keys), encoding="ascii")
        note.rename(note.with_suffix(".txt"))
        order = list(requests)
        random.Random(os.getpid()).shuffle(order)
        with (self._root / "durable").open("a", buffering=1, encoding="ascii") as durable:
            for request in order:
                time.sleep(SECONDS_BETWEEN_ANSWERS)
                completion = answer(request, self._mean_tokens)
                yield completion
                durable.write(completion.key + "\n")  # asked for the next: this one is journaled


def questions(n: int = N_QUESTIONS) -> pa.Table:
    """Rows with the schema QUESTIONS."""
    rows = [
        {
            "question_id": f"q-{i}", "domain": "math", "question": f"What is {i} + 1?",
            "answer": str(i + 1), "difficulty": None, "source": None, "drop": "d", "line": i + 1,
        }
        for i in range(n)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=QUESTIONS)


def make_partition(root: Path) -> None:
    """What the asset does, journal and all; the journal is left for the test to look at."""
    lake = Lake(root=str(root / "lake"))
    rows = sample_responses(
        questions(), NotingEngine(root), temperature_name="high", temperature=1.0,
        samples_per_question=N_SAMPLES, top_p=1.0, max_tokens=50_000, system_prompt="s",
        reasoning_effort="high", seed=7, journal=lake.journal("teacher_responses", CELL),
    )  # fmt: skip
    lake.write("teacher_responses", rows, CELL)


def serve(root: Path) -> None:
    """One child per line on stdin."""
    (root / "asked").mkdir(parents=True)
    (root / "durable").touch()
    questions(1).to_pylist()  # pyarrow looks for pandas once: here, not in each child
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            make_partition(root)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
