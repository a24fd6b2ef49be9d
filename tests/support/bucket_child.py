"""Answers requests slowly into a journal of a lake in a bucket, until it is killed.

python -m support.bucket_child ROOT URI N_REQUESTS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from support.stub_engine import StubEngine

from resources.engines.journal import finish_requests
from resources.engines.protocol import Completion, GenerationRequest, ProgressCallback, Prompt
from resources.lake import bucket_journal
from resources.lake.bucket_lake import BucketLake

CELL = {"temperature": "high", "question_shard": "drop-01"}


class SlowEngine(StubEngine):
    """Pauses between answers, and never comes to the last one."""

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        for n, completion in enumerate(super().generate(requests, on_progress), start=1):
            time.sleep(0.01 if n < len(requests) else 600)
            yield completion


def requests(n: int) -> list[GenerationRequest]:
    """As many requests, each with a seed of its own."""
    return [GenerationRequest(Prompt((1, 2)), 1.0, 1.0, 8, seed) for seed in range(n)]


if __name__ == "__main__":
    bucket_journal.SECONDS_BETWEEN_COPIES = 0.2
    lake = BucketLake(root=sys.argv[1], uri=sys.argv[2], owner="us")
    journal = lake.journal("teacher_responses", CELL)
    finish_requests(SlowEngine(), requests(int(sys.argv[3])), journal)
