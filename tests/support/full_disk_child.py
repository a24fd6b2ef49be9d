"""Fills the small disk that it is given, makes room, goes on; prints what it saw as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from support.small_lake import filled
from support.stub_engine import IDENTITY, StubEngine

from resources.engines.journal import Journal, finish_requests
from resources.engines.protocol import GenerationRequest, Prompt
from resources.lake.lake import Lake

N_REQUESTS = 400
LEFT_BYTES = 256 * 1024


def message(error: OSError) -> str:
    return f"{error.errno} {error.strerror}"


def main(disk: Path) -> None:
    """Write below `disk` until it is full, twice: a journal, then a partition."""
    lake, seen = Lake(root=str(disk / "lake")), {}
    shard = {"question_shard": "s1"}
    lake.write("questions", filled("questions", {"question_id": "q1"}), shard)
    journal = lake.journal("teacher_responses", shard)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (lake.free_bytes() - LEFT_BYTES))

    requests = [GenerationRequest(Prompt((1,)), 1.0, 1.0, 9_000, n) for n in range(N_REQUESTS)]
    first = StubEngine(mean_tokens=400)
    try:
        finish_requests(first, requests, journal)
    except OSError as error:
        seen["journal"] = message(error)
    with Journal(journal) as kept:
        seen["kept"] = len(kept)
    rng = np.random.default_rng(0)
    texts = (f"q{number} {rng.bytes(20_000).hex()}" for number in range(100))
    large = filled("questions", *({"question_id": text[:9], "question": text} for text in texts))
    try:
        lake.write("questions", large, shard)
    except OSError as error:
        seen["partition"] = message(error)
    try:
        lake.publish_file("stage_report.html", bytes(2 * LEFT_BYTES))
    except OSError as error:
        seen["page"] = message(error)
    seen["rows_meanwhile"] = lake.read("questions", shard).num_rows
    seen["left_over"] = [file.name for file in disk.rglob("*.tmp")]

    filler.unlink()
    second = StubEngine(mean_tokens=400)
    finished = finish_requests(second, requests, journal)
    asked = [request.key(IDENTITY) for request in requests]
    seen["answers"] = sum(1 for _ in finished.read(asked))
    seen["asked_again"] = len(second.asked)
    seen["rows_after"] = lake.write("questions", large, shard).n_rows
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
