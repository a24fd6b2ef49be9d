"""The asset `questions` of shards with a common question, in processes that stop and are stopped.

python -m support.curation_side_by_side SHARD LAKE [LEASE_SECONDS]: LAKE is the resource as JSON. It
says "compares" once it has the other shards before it, and goes on when it is told to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from support.small_lake import filled

from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile import PROJECT_ROOT, load_profile
from dasd_assets.questions import assets
from resources.lake import bucket_lease
from resources.lake.bucket_lake import BucketLake
from resources.lake.lake import Lake

COMPARES, WAITS, GOES_ON = "compares", "waiting until", "shows no sign"
FIRST, SECOND = "drop-01", "drop-02"


def make_shards(lake: Lake) -> None:
    """Two drops that have been read: each has a question of its own, and one as the other."""
    for shard, own in ((FIRST, "Why?"), (SECOND, "How?")):
        rows = [{"question": question, "domain": "math"} for question in (own, "What is common?")]
        lake.write("raw_questions", filled("raw_questions", *rows), {QUESTION_SHARD: shard})


def holders(lake: Lake) -> list[str]:
    """Shards that keep the common question."""
    kept = lake.read_partitions("questions", ["question"])
    rows = zip(kept["question"].to_pylist(), kept[QUESTION_SHARD].to_pylist(), strict=True)
    return [shard for question, shard in rows if question == "What is common?"]


class Curation:
    """One shard being curated in a process of its own."""

    def __init__(self, lake: Lake, shard: str, lease_seconds: float = 60.0) -> None:
        settings = {"root": lake.root}
        if isinstance(lake, BucketLake):
            settings |= {"uri": lake.uri, "owner": lake.owner}
        path = f"{PROJECT_ROOT / 'tests'}{os.pathsep}{PROJECT_ROOT}"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "support.curation_side_by_side", shard,
             json.dumps(settings), str(lease_seconds)],
            env=os.environ | {"PYTHONPATH": path}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.printed = ""

    def until(self, *words: str) -> str:
        """Read what it prints until one of these words; which one."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed += line
            if found := [word for word in words if word in line]:
                return found[0]
        raise AssertionError(f"it ended without {words}:\n{self.printed}")

    def go_on(self) -> None:
        """Let it write what it has compared."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended_well(self) -> bool:
        """Whether the asset was made, once the process has ended."""
        assert self.process.stdout
        self.printed += self.process.stdout.read()
        return self.process.wait() == 0


@contextmanager
def curations(lake: Lake, lease_seconds: float = 60.0) -> Iterator[tuple[Curation, Curation]]:
    """The first shard has compared itself with the others, and the second one has begun."""
    make_shards(lake)
    first = Curation(lake, FIRST, lease_seconds)
    second = None
    try:
        first.until(COMPARES)
        second = Curation(lake, SECOND, lease_seconds)
        yield first, second
    finally:
        for curation in filter(None, (first, second)):
            curation.process.kill()
            curation.process.wait()


def main(shard: str, settings: Mapping[str, str], lease_seconds: float) -> bool:
    """Curate; whether it succeeded."""
    bucket_lease.LEASE_SECONDS = lease_seconds
    bucket_lease.SECONDS_BETWEEN_LOOKS = 0.1
    lake: Lake = BucketLake(**settings) if "uri" in settings else Lake(**settings)
    curated = assets.curated

    @contextmanager
    def stopping(*arguments: Any) -> Iterator[Any]:
        with curated(*arguments) as result:
            print(COMPARES, flush=True)
            sys.stdin.readline()
            yield result

    assets.curated = stopping
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(QUESTION_SHARD, [shard])
    return dg.materialize(
        assets.build(load_profile("tiny")), selection=["questions"], partition_key=shard,
        resources={"lake": lake}, instance=instance, raise_on_error=False,
    ).success  # fmt: skip


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])))
