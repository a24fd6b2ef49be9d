"""A run of paper size in rows, before one of paper size is paid for: what the data path bears.

Real Dagster, lake, journal, curation, filters, provenance and selection; the models are engines
that make text, tokens and probabilities up at once (`kind: synthetic`). Two sizes, one after the
other: whether time and disk grow with the rows, whether memory does not, and whether `dasd plan`
would have told from the smaller what the larger takes.

    python -m tools.rehearsal [--questions 27000 108000] [--factor 155] [--folder DIR]
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

from tools.rehearsal.measure import rehearse
from tools.rehearsal.project import PAPER_MEAN_TOKENS, Size, make_project
from tools.rehearsal.report import growth, plan_against, stages


def main() -> None:
    """Rehearse every size and print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, nargs="+", default=[27_000, 108_000])
    parser.add_argument("--shard-questions", type=int, default=4_500)
    parser.add_argument("--answers", type=int, default=2, help="per question and temperature")
    shorter = f"answers are so much shorter than {PAPER_MEAN_TOKENS:,} tokens in the mean"
    parser.add_argument("--factor", type=float, default=155.0, help=shorter)
    parser.add_argument("--folder", type=Path, help="to keep what is made; it must be empty")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for questions in sorted(arguments.questions):
            size = Size(
                questions, arguments.shard_questions, arguments.answers, arguments.factor
            )  # fmt: skip
            folder = (arguments.folder or Path(scratch)) / f"{questions}-questions"
            found.append(rehearse(make_project(folder, size), size))
            print(stages(found[-1]), flush=True)
        for smaller, larger in pairwise(found):
            print(growth(smaller, larger))
            print(plan_against(smaller, larger))


if __name__ == "__main__":
    main()
