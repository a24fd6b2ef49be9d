"""Sentence splitters on labelled hard boundaries of reasoning text, and their speed.

In `data/sentence_boundaries.jsonl` every text is marked by hand: § stands where a sentence starts,
¤ where it looks as if one did. The rules of this project were written with the tuned part in
sight; the held-out part was labelled afterwards, and no rule was changed for it. A splitter is
shown as it is, and line by line (every line break ends a sentence, as in the labels). "rules" is
this project's default, "sentencex+" the library as the profile offers it: on the same lines and
blocks.

    python -m benchmarks.sentences
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from dasd_assets.divergence_sampling.library_segmenter import SentencexSegmenter
from dasd_assets.divergence_sampling.reasoning_segmenter import ReasoningSegmenter

LABELLED = Path(__file__).parent / "data" / "sentence_boundaries.jsonl"
START, NO_START = "§", "¤"
Splitter = Callable[[str], Iterable[int]]
"""Text -> character positions at which sentences start; the first may be missing."""


@dataclass
class Score:
    """Counts of starts: found, invented, missed."""

    found: int = 0
    invented: int = 0
    missed: int = 0

    def add(self, other: Score) -> None:
        """Sum up."""
        self.found += other.found
        self.invented += other.invented
        self.missed += other.missed

    @property
    def precision(self) -> float:
        """Share of the starts given that are right."""
        return self.found / max(1, self.found + self.invented)

    @property
    def recall(self) -> float:
        """Share of the labelled starts that were given."""
        return self.found / max(1, self.found + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.found / max(1, 2 * self.found + self.invented + self.missed)


@dataclass(frozen=True)
class Labelled:
    """One text with its labels."""

    category: str
    is_held_out: bool
    text: str
    starts: frozenset[int]
    n_look_alikes: int


def main() -> None:
    """Print precision, recall and F1 of every splitter, F1 by category, and the speeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=float, default=0.5, help="text for the speed")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    labelled = read_labelled()
    splitters = candidates()
    for is_held_out in (False, True):
        part = [row for row in labelled if row.is_held_out == is_held_out]
        print(f"\n{'held out' if is_held_out else 'tuned'}: {len(part)} texts, "
              f"{sum(len(row.starts) for row in part)} starts, "
              f"{sum(row.n_look_alikes for row in part)} look-alikes")  # fmt: skip
        scores = {name: by_category(part, splitter) for name, splitter in splitters.items()}
        print(f"{'':24}{'precision':>10}{'recall':>10}{'F1':>10}")
        for name in splitters:
            whole = total(scores[name].values())
            print(f"{name:24}{whole.precision:10.1%}{whole.recall:10.1%}{whole.f1:10.1%}")
        print(f"\nF1 in %{'':19}" + "".join(f"{name.replace(', by line', '/l'):>12}"
                                           for name in splitters))  # fmt: skip
        for category in dict.fromkeys(row.category for row in part):
            values = [scores[name][category].f1 for name in splitters]
            print(f"{category:26}" + "".join(f"{100 * value:12.0f}" for value in values))
    print_speeds(labelled, splitters, int(arguments.mib * 2**20), arguments.rounds)


def print_speeds(
    labelled: list[Labelled], splitters: dict[str, Splitter], n_bytes: int, rounds: int
) -> None:
    """Speed on the labelled texts, joined to answers of about 16 KB, best of the rounds."""
    # A block of code left open would make one sentence of all that follows.
    page = "\n\n".join(row.text for row in labelled if not row.text.count("```") % 2)
    answer = "\n\n".join([page] * max(1, 16_000 // len(page)))
    answers = [answer] * max(1, n_bytes // len(answer.encode()))
    n_bytes = sum(len(text.encode()) for text in answers)
    best = dict.fromkeys(splitters, float("inf"))
    for _ in range(rounds):  # interleaved: the machine's noise meets all
        for name, splitter in splitters.items():
            start = time.process_time()
            for text in answers:
                list(splitter(text))
            best[name] = min(best[name], time.process_time() - start)
    print(f"\nspeed on {n_bytes:,} bytes in CPU seconds, best of {rounds} rounds")
    fastest = next(iter(best.values()))
    for name, seconds in best.items():
        print(f"  {name:26}{n_bytes / seconds / 1e6:10.2f} MB/s, {seconds / fastest:8.1f} x "
              "the time of our rules")  # fmt: skip


def candidates() -> dict[str, Splitter]:
    """Every splitter by name; ours first."""
    import blingfire
    import nupunkt
    import pysbd
    import sentencex
    from syntok import segmenter as syntok

    pysbd_segmenter = pysbd.Segmenter(language="en", clean=False, char_span=True)

    def of_syntok(text: str) -> list[int]:
        return [s[0].offset for paragraph in syntok.process(text) for s in paragraph if s]

    libraries: dict[str, Splitter] = {
        "pysbd": lambda text: [span.start for span in pysbd_segmenter.segment(text)],
        "syntok": of_syntok,
        "nupunkt": lambda text: [start for start, _ in nupunkt.sent_spans(text)],
        "blingfire": lambda text: [s for s, _ in blingfire.text_to_sentences_and_offsets(text)[1]],
        "sentencex": lambda text: [
            sentence["start_index"] for sentence in sentencex.get_sentence_boundaries("en", text)
        ],
    }
    return {
        "rules": ReasoningSegmenter().ends,
        "sentencex+": SentencexSegmenter().ends,
        **libraries,
        **{f"{name}, by line": by_line(splitter) for name, splitter in libraries.items()},
    }


def by_line(splitter: Splitter) -> Splitter:
    """The same splitter, asked for one line at a time."""

    def starts(text: str) -> Iterable[int]:
        lines = text.split("\n")
        for first, line in zip(accumulate((len(s) + 1 for s in lines), initial=0), lines,
                               strict=False):  # fmt: skip
            yield first
            if line.strip():
                yield from (first + start for start in splitter(line))

    return starts


def read_labelled() -> list[Labelled]:
    """The labelled texts, marks taken out."""
    rows = []
    for line in LABELLED.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pieces = row["text"].replace(NO_START, "").split(START)
        text = "".join(pieces)
        starts = accumulate(len(piece) for piece in pieces[:-1])
        rows.append(
            Labelled(
                row["category"],
                row["is_held_out"],
                text,
                frozenset(first_character(text, start) for start in starts),
                row["text"].count(NO_START),
            )
        )
    return rows


def by_category(rows: list[Labelled], splitter: Splitter) -> dict[str, Score]:
    """Scores per category; where the white space between two sentences goes is not judged."""
    scores: dict[str, Score] = {}
    for row in rows:
        given = {first_character(row.text, start) for start in splitter(row.text)}
        given -= {first_character(row.text, 0), len(row.text)}
        score = Score(len(given & row.starts), len(given - row.starts), len(row.starts - given))
        scores.setdefault(row.category, Score()).add(score)
    return scores


def total(scores: Iterable[Score]) -> Score:
    """Sum of scores."""
    result = Score()
    for score in scores:
        result.add(score)
    return result


def first_character(text: str, start: int) -> int:
    """Place of the first character from `start` on that is no white space."""
    return len(text) - len(text[start:].lstrip())


if __name__ == "__main__":
    main()
