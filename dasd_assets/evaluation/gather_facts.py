"""The facts of a run, as the diagnosis wants them, gathered from the lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dasd_assets.profile import Profile
from dasd_assets.questions.curation.contaminated_samples import (
    contaminated,
    evaluation_questions,
    set_named,
    training_questions,
)
from dasd_assets.reporting.loss_course import loss_course
from dasd_assets.reporting.metrics import OVERALL, Score
from dasd_assets.reporting.run_facts import NONE, RunFacts, Share, StageFacts, TemperatureFacts
from dasd_assets.reporting.stage_table import StageRow
from dasd_assets.response_filtering.rules import (
    Response,
    repeated_characters,
    repeated_ngram,
    repeated_paragraph,
    repeated_sentence,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from resources.lake.lake import Lake

LEARNT_FROM: Final = {"low_temperature": "low", "high_temperature": "high"}
LOOPS: Final = (repeated_paragraph, repeated_sentence, repeated_ngram, repeated_characters)
LOOKED_AT: Final = 200
"""Cut-off answers of a checkpoint in which loops are looked for; of more, these stand for all."""

Logs = Mapping[str, Sequence[Mapping[str, float]]]


def gather_facts(
    lake: Lake,
    warehouse: DuckDBPyConnection,
    profile: Profile,
    rows: Sequence[StageRow],
    logs: Logs,
) -> RunFacts:
    """Everything that the rules look at, of what is in the lake.

    Args:
        warehouse: of the same lake, from `open_warehouse`.
        rows, logs: from `stage_rows` and `training_logs` of `reporting.collect`.
    """
    n_words = profile.questions.decontamination_ngram_words
    shared = contaminated(training_questions(lake), evaluation_questions(lake), n_words)
    mixed = profile.mixed_policy_distillation
    is_masked = mixed is not None and mixed.mask_student_prefix
    return RunFacts(
        temperatures={
            name: _temperature(warehouse, name, sampled_at)
            for name, sampled_at in profile.teacher_responses.temperatures.items()
        },
        stages=tuple(_stages(warehouse, profile, rows, logs)),
        trained_on=dict(sorted(Counter(map(set_named, shared.values())).items())),
        delivered=_delivered(warehouse),
        with_own_prefix=_share(
            warehouse,
            f"student_prefix_bytes > 0 AND NOT {is_masked}", "mixed_policy_sample",
        ),
        shared_words=n_words,
        verified=tuple(profile.response_filtering.verify_domains),
    )  # fmt: skip


def _temperature(warehouse: DuckDBPyConnection, name: str, sampled_at: float) -> TemperatureFacts:
    ((p_teacher, p_student),) = warehouse.sql(
        """SELECT exp(avg(ln(p_teacher))), exp(avg(ln(p_student))) FROM divergence_candidates
           WHERE temperature = $name AND is_selected AND p_teacher > 0 AND p_student > 0""",
        params={"name": name},
    ).fetchall()
    return TemperatureFacts(
        sampled_at,
        answered=_right(warehouse, name),
        chosen=_right(warehouse, name, "is_selected"),
        at_random=sum(_right(warehouse, name, "is_random_control").values(), start=NONE),
        p_teacher=p_teacher,
        p_student=p_student,
    )


def _right(
    warehouse: DuckDBPyConnection, name: str, candidates: str | None = None
) -> dict[str, Share]:
    """Domain -> right answers of those that were judged; a domain without any is left out.

    Args:
        candidates: only those for which this holds in `divergence_candidates`.
    """
    drawn = f"""SEMI JOIN (FROM divergence_candidates WHERE {candidates})
                USING (temperature, question_shard, response_id)"""
    found = warehouse.sql(
        f"""SELECT domain, count(*) FILTER (is_correct), count(is_correct)
            FROM filtered_responses {drawn if candidates else ""} WHERE temperature = $name
            GROUP BY domain HAVING count(is_correct) > 0 ORDER BY domain""",
        params={"name": name},
    ).fetchall()
    return {domain: Share(n_right, n) for domain, n_right, n in found}


def _stages(
    warehouse: DuckDBPyConnection, profile: Profile, rows: Sequence[StageRow], logs: Logs
) -> Iterator[StageFacts]:
    measured = [row for row in rows if row.scores.get(OVERALL) is not None]
    looping = {row.checkpoint: _looping(warehouse, profile, row.checkpoint) for row in measured}
    for before, row in pairwise(measured):
        gain = row.differences[before.checkpoint][OVERALL]
        if gain is None:
            continue
        first, then = _overall(before), _overall(row)
        entries = logs.get(row.checkpoint, ())
        yield StageFacts(
            row.checkpoint,
            before.checkpoint,
            LEARNT_FROM.get(row.checkpoint),
            accuracy=(first.avg_at_k.value, then.avg_at_k.value),
            gain=gain,
            mean_tokens=(first.mean_tokens, then.mean_tokens),
            truncated=(first.truncated_share, then.truncated_share),
            looping=(looping[before.checkpoint], looping[row.checkpoint]),
            loss=loss_course([entry["loss"] for entry in entries if "loss" in entry]),
        )


def _overall(row: StageRow) -> Score:
    score = row.scores[OVERALL]
    assert score is not None
    return score


def _looping(warehouse: DuckDBPyConnection, profile: Profile, checkpoint: str) -> Share:
    """Answers that were cut off while they repeated themselves, by the rules of the filters."""
    of_checkpoint = "evaluation WHERE checkpoint = $name"
    counted = _share(warehouse, "finish_reason = 'length'", of_checkpoint, name=checkpoint)
    # Ids are hashes: the first of them are as good as any.
    texts = warehouse.sql(
        f"""SELECT text FROM {of_checkpoint} AND finish_reason = 'length'
            ORDER BY answer_id LIMIT {LOOKED_AT}""",
        params={"name": checkpoint},
    ).fetchall()
    n_looping = 0
    for (text,) in texts:
        response = Response(text, "", 0)
        n_looping += any(rule(response, profile.response_filtering) for rule in LOOPS)
    n = round(n_looping * counted.n / len(texts)) if texts else 0
    return Share(n, counted.of)


def _delivered(warehouse: DuckDBPyConnection) -> dict[str, Share]:
    sizes: dict[str, int] = dict(
        warehouse.sql("SELECT benchmark, count(*) FROM benchmark_questions GROUP BY 1").fetchall()
    )
    evidence = warehouse.sql(
        "SELECT evidence FROM rejected_questions WHERE reason = 'contaminated'"
    ).fetchall()
    rejected = Counter(set_named(text) for (text,) in evidence)
    return {name: Share(n, sizes.get(name, 0)) for name, n in sorted(rejected.items())}


def _share(warehouse: DuckDBPyConnection, which: str, rows: str, **params: str) -> Share:
    (counts,) = warehouse.sql(
        f"SELECT count(*) FILTER ({which}), count(*) FROM {rows}", params=params
    ).fetchall()
    return Share(*counts)
