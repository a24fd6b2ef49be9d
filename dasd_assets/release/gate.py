"""What has to hold before a release: sampled, clean of evaluation questions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.questions.curation.contaminated_samples import (
    contaminated,
    evaluation_questions,
    training_questions,
)
from dasd_assets.release.folder import ReleaseError
from resources.engines.settings import SYNTHETIC
from resources.lake.examination import Examination
from resources.lake.lake import RETIRED

if TYPE_CHECKING:
    from dasd_assets.profile import Profile
    from resources.lake.lake import Lake

MAX_EXAMPLES = 5


def leaves_shards_out(lake: Lake, profile: Profile) -> bool:
    """Whether a shard was taken out that what was made of earlier samples may still have."""
    return bool(profile.divergence_sampling.exclude_shards or lake.listing(f"{RETIRED}/"))


def left_out_shards(lake: Lake, profile: Profile) -> set[str]:
    """Question_shards that the profile excludes, and that no sample has rows of any more."""
    excluded = set(profile.divergence_sampling.exclude_shards)
    if excluded:
        for partition in _samples(lake, profile):
            drawn = lake.read("divergence_sample", partition, ["question_shard"])
            excluded -= set(pc.unique(drawn["question_shard"]).to_pylist())
    return excluded


def _samples(lake: Lake, profile: Profile) -> Iterator[dict[str, str]]:
    """Partitions of `divergence_sample` that the profile has; a lake may have others yet."""
    for partition in lake.partitions("divergence_sample"):
        if partition["temperature"] in profile.teacher_responses.temperatures:
            yield partition


def require_sampled(lake: Lake, left_out: Collection[str]) -> None:
    """Refuse what rests on answers that no model gave (`kind: synthetic`, for rehearsals).

    Args:
        left_out: question_shards of which nothing is released.

    Raises:
        ReleaseError: naming a partition that has some.
    """
    for partition in lake.partitions("teacher_responses"):
        if partition["question_shard"] in left_out:
            continue
        for batch in lake.batches("teacher_responses", partition, ["engine"]):
            if pc.any(pc.equal(batch["engine"], SYNTHETIC)).as_py():
                raise ReleaseError(
                    f"teacher_responses {'/'.join(partition.values())}: answers are made up "
                    f"(engine {SYNTHETIC}), and nothing that rests on them is released"
                )


def require_as_written(lake: Lake, profile: Profile, *, with_mixed: bool) -> None:
    """Refuse samples that are damaged, or to be made anew as a shard of theirs was retired.

    Args:
        with_mixed: `mixed_policy_sample` is one of them.

    Raises:
        ReleaseError: naming the first.
    """
    examination = Examination(lake)
    samples = [("divergence_sample", partition) for partition in _samples(lake, profile)]
    if with_mixed:
        samples += [("mixed_policy_sample", one) for one in lake.partitions("mixed_policy_sample")]
    for table, partition in samples:
        if problem := examination.problem(lake.name(table, partition)):
            name = " ".join([table, *partition.values()])
            raise ReleaseError(f"{name}: {problem}. `dasd run` makes it anew")


def require_clean(lake: Lake, profile: Profile) -> int:
    """Refuse training sets with questions that share an n-gram with an evaluation question.

    Curation rejects such questions; this looks at what is left in the sets themselves.

    Returns:
        Rows that were looked at.

    Raises:
        ReleaseError: naming the questions and what they share.
    """
    n_rows = 0

    def questions() -> Iterator[pa.RecordBatch]:
        nonlocal n_rows
        for batch in training_questions(lake):
            n_rows += batch.num_rows
            yield batch

    ngram_words = profile.questions.decontamination_ngram_words
    found = contaminated(questions(), evaluation_questions(lake), ngram_words)
    if found:
        shown = "; ".join(f"{name}: {what}" for name, what in list(found.items())[:MAX_EXAMPLES])
        raise ReleaseError(
            f"{len(found)} questions of the training sets share {ngram_words} words with an "
            f"evaluation question: {shown}. Materialize questions, and all below, again."
        )
    return n_rows
