"""The mixed-policy sample as the lake gets it: read, finished, mixed and written in one pass."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from dasd_assets.mixed_policy_distillation.mixed_sample import (
    CONTINUATION_COLUMNS,
    OFF_POLICY_COLUMNS,
    finish_continuations,
    off_policy_choice,
    off_policy_rows,
)
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.judging import Judge
from dasd_assets.response_filtering.outcomes import all_rejected
from dasd_assets.verification.graders import PAPER_GRADERS, Graders
from formats.model_format import ModelFormat
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition, Written


_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Partitions that a mixed sample is made of, and those that it is written to."""

    continuations: Sequence[Partition]
    off_policy: Sequence[Partition]
    rejected: Partition | None = None
    sample: Partition | None = None


@dataclass(frozen=True)
class MixedSample:
    """What was written, and how many continuations were kept and rejected."""

    written: Written
    n_mixed: int
    n_rejected: int


def write_mixed_sample(
    lake: Lake,
    student: ModelFormat,
    teacher: ModelFormat,
    settings: ResponseFiltering,
    system_prompt: str,
    *,
    n_off_policy: int,
    distinct_questions: bool,
    seed: int,
    graders: Graders = PAPER_GRADERS,
    threads: int = 1,
    places: Places | None = None,
    references: Mapping[str, str] | None = None,
    warn: Callable[[str], None] = _logger.warning,
) -> MixedSample:
    """Finish, filter and mix what is in the lake, and write `mixed_policy_sample` as it comes.

    A row group of texts is in memory at a time. Beside it: the ids of all divergence samples, the
    question of each finished answer, a short row of each rejected one and, where answers are
    verified, the references.

    Args:
        settings: the rules that the teacher's responses keep.
        graders, threads: for the domains whose answers are verified.
        places: None: all partitions of the lake, into tables of one file.
        references: question_id -> reference answer as JSON; None: those of the lake's questions.
        warn: is told that of the continuations of a few questions none was kept.

    Raises:
        AllRejectedError: there were continuations, not just of a few questions, and none was kept.
            What was there before stays.
    """
    if places is None:
        places = Places(
            lake.partitions("teacher_continuations"), lake.partitions("divergence_sample")
        )
    if references is None:
        references = _references(lake, settings)
    judge = Judge(settings, references, graders)
    rejected: list[pa.RecordBatch] = []
    questions: list[pa.Array] = []

    def rows() -> Iterator[pa.RecordBatch]:
        for partition in places.continuations:
            for batch in lake.batches("teacher_continuations", partition, CONTINUATION_COLUMNS):
                finished = finish_continuations(
                    pa.Table.from_batches([batch]),
                    student, teacher, settings, system_prompt, judge, threads,
                )  # fmt: skip
                rejected.extend(b for b in finished.rejected.to_batches() if b.num_rows)
                questions.extend(finished.kept["question_id"].chunks)
                yield from finished.kept.to_batches()
        if any(map(len, rejected)) and not any(map(len, questions)):
            all_rejected(
                rejected, "continuations",
                "a small project leaves stage 3 out: `mixed_policy_distillation: off`",
                warn,
            )  # fmt: skip
        # Written before the main table is there: its presence means that both are.
        lake.write("rejected_continuations", rejected, places.rejected)
        taken = pa.chunked_array(questions if distinct_questions else [], pa.string())
        chosen = off_policy_choice(_ids(lake, places.off_policy), taken, n_off_policy, seed)
        for partition in places.off_policy:
            batches = lake.batches("divergence_sample", partition, OFF_POLICY_COLUMNS)
            yield from off_policy_rows(batches, chosen)

    written = lake.write("mixed_policy_sample", rows(), places.sample)
    return MixedSample(written, sum(map(len, questions)), sum(batch.num_rows for batch in rejected))


def _ids(lake: Lake, partitions: Sequence[Partition]) -> pa.Table:
    """Ids of divergence samples, and of the questions that they are answers to."""
    schema = pa.schema([DIVERGENCE_SAMPLE.field(name) for name in ("response_id", "question_id")])
    batches = (lake.batches("divergence_sample", one, schema.names) for one in partitions)
    return pa.Table.from_batches(chain.from_iterable(batches), schema)


def _references(lake: Lake, settings: ResponseFiltering) -> dict[str, str]:
    """question_id -> reference answer as JSON; nothing where no domain is verified."""
    if not settings.verify_domains:
        return {}
    questions = lake.read_partitions("questions", ["question_id", "answer"])
    ids, answers = (questions[name].to_pylist() for name in ("question_id", "answer"))
    return dict(zip(ids, answers, strict=True))
