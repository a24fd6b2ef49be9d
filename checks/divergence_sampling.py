"""Checks on scores, provenance and the sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition, share
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.logprobs import logprob_checks
from checks.provenance import probability_checks
from checks.questions import domain_shares
from checks.row_rules import (
    NOT_EMPTY_SENTENCE,
    POSITIVE_WEIGHT,
    rows_that_break,
    within_context,
)
from checks.teacher_responses import known_questions, mean_tokens
from dasd_assets.divergence_sampling.ready_shards import DRAWN_FROM, how_far, shards_of
from dasd_assets.divergence_sampling.teacher_scoring import HAS_LOGPROBS
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, responses, temperatures
from dasd_assets.profile import Profile
from resources.lake.tables.divergence_sampling import CONTROLS

_SYMMETRIC = """
select coalesce(a.response_id, b.response_id) from (
    select response_id, count(*) as n from filtered_responses group by 1
) as a full join (
    select response_id, count(*) as n from {other} group by 1
) as b using (response_id) where a.n is distinct from b.n
"""

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_ALLOWED = "(from divergence_candidates where decision <> 'over_answers_per_question')"
"""Candidates whose sizes the budget is shared out by."""


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    grid = responses(profile)
    by_teacher = [asset_checks(profile, "teacher_scores", _teacher_scores, partitions_def=grid)]
    return [
        asset_checks(profile, "student_scores", _scores, partitions_def=grid),
        *([] if profile.no_teacher_scores else by_teacher),
        asset_checks(profile, "sentence_provenance", _provenance, partitions_def=grid),
        asset_checks(
            profile, "divergence_sample", _sample(profile),
            partitions_def=temperatures(profile), dimension=TEMPERATURE,
        ),
    ]  # fmt: skip


def _scores(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    data.view("filtered_responses", TEMPERATURE, QUESTION_SHARD)
    unequal, ids = data.broken(_SYMMETRIC.format(other="student_scores"))
    yield Measurement("every_response_scored", {data.name(): unequal}, ids)
    yield from logprob_checks(data, "student_scores")
    ranks = data.row(
        """select min(lowest) as lowest, min_by(response_id, lowest, 5) as ids
           from (select response_id, list_min(ranks) as lowest from student_scores)"""
    )
    found = {} if ranks["lowest"] is None else {data.name(): ranks["lowest"]}
    yield Measurement("ranks_from_one", found, tuple(ranks["ids"] or ()))
    revisions = data.pairs(
        "select model || '@' || model_revision, count(*) from student_scores group by 1 order by 1"
    )
    yield Measurement("one_student", {data.name(): len(revisions)}, details=revisions)
    n_rows = data.row("select count(*) as n from student_scores")["n"]
    yield Summary(n_rows, mean_tokens(data))


def _teacher_scores(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    data.view("filtered_responses", TEMPERATURE, QUESTION_SHARD)
    unequal, ids = data.broken(_SYMMETRIC.format(other="teacher_scores"))
    yield Measurement("every_response_scored", {data.name(): unequal}, ids)
    yield from logprob_checks(data, "teacher_scores")
    rows = data.row(
        """select count(*) as n, avg((left_out is not null)::int) as left_out
           from teacher_scores where left_out is distinct from $own""",
        own=HAS_LOGPROBS,
    )
    _, ids = data.broken(
        """select response_id || ': ' || left_out from teacher_scores
           where left_out <> $own""",
        own=HAS_LOGPROBS,
    )
    yield Measurement("few_left_out", {data.name(): rows["left_out"]} if rows["n"] else {}, ids)
    yield Summary(rows["n"], mean_tokens(data))


def _provenance(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    data.view("filtered_responses", TEMPERATURE, QUESTION_SHARD)
    for check, sql in {
        "every_response_classified": _SYMMETRIC.format(other="response_provenance"),
        "counts_add_up": """
            select coalesce(r.response_id, s.response_id) from response_provenance as r full join (
                select response_id,
                       count(*) filter (sentence_class = 'teacher') as teacher,
                       count(*) filter (sentence_class = 'student') as student,
                       count(*) filter (sentence_class = 'common') as common
                from sentence_provenance group by response_id
            ) as s using (response_id)
            where (coalesce(teacher, 0), coalesce(student, 0), coalesce(common, 0),
                   coalesce(teacher + student + common, 0))
               is distinct from
                  (n_teacher_sentences, n_student_sentences, n_common_sentences, n_sentences)""",
        "sentences_in_order": f"""select response_id || ':' || sentence_index from (
                select response_id, sentence_index, start_byte, end_byte, lag(end_byte, 1, 0) over
                    (partition by response_id order by sentence_index) as end_before
                from sentence_provenance
            ) where start_byte < end_before or {NOT_EMPTY_SENTENCE.broken}""",
    }.items():
        n_broken, ids = data.broken(sql)
        yield Measurement(check, {data.name(): n_broken}, ids)
    classes = yield from probability_checks(
        data, "sentence_provenance", "response_id",
        known="response_id in (select response_id from response_provenance "
        "where p_teacher is not null)",
    )  # fmt: skip
    found = data.row(
        f"""select count(*) filter (sentence_class = 'teacher') as n,
                   quantile_cont(p_teacher - p_student, {[*QUANTILES]}) as differences
            from sentence_provenance where p_teacher - p_student is not null"""
    )
    quantiles = zip(QUANTILES, found["differences"] or (), strict=False)
    yield Measurement(
        "has_teacher_sentences",
        {data.name(): found["n"]} if found["differences"] else {},
        details={f"{share:.0%} below": round(value, 4) for share, value in quantiles},
    )
    rows = data.row(
        """select count(*) as n, avg(p_teacher) as p_teacher, avg(p_student) as p_student,
                  avg(n_sentences) as sentences from response_provenance"""
    )
    n_rows = rows.pop("n")
    means = {name: value for name, value in rows.items() if value is not None}
    yield Summary(n_rows, means if n_rows else {}, classes)


def no_shard_lost(data: CheckedPartition, exclude: Collection[str] = ()) -> Measurement:
    """Shards whose scored answers are no candidates any more, which makes a sample look whole."""
    temperature = data.partition[TEMPERATURE]
    chosen_from = data.pairs("select distinct question_shard, true from divergence_candidates")
    being_made = shards_of(data.lake, temperature, exclude).not_ready
    lost = []
    for shard in sorted(
        set(data.made("sentence_provenance")) - {*chosen_from, *exclude, *being_made}
    ):
        cell = {TEMPERATURE: temperature, QUESTION_SHARD: shard}
        if not all(data.lake.exists(table, cell) for table in DRAWN_FROM):
            lost.append(f"{shard}: gone from the lake; `dasd run` makes it again")
        elif data.lake.read("response_provenance", cell, ["response_id"]).num_rows:
            lost.append(f"{shard}: not chosen from; materialize divergence_sample again")
    return Measurement("no_shard_lost", {data.name(): len(lost)}, tuple(lost))


def shards_ready(data: CheckedPartition, exclude: Collection[str] = ()) -> Measurement:
    """Shards that are not ready, each with how far it is, and such as are left out but are none."""
    temperature = data.partition[TEMPERATURE]
    missing = dict(shards_of(data.lake, temperature, exclude).not_ready)
    registered = set(data.registered())
    for shard in sorted(registered - {*missing, *exclude}):
        if table := how_far(data.lake, temperature, shard):
            missing[shard] = f"has nothing in {table} yet"
    # A name that is misspelt leaves nothing out.
    for shard in set(exclude) - registered:
        missing[shard] = "is no shard, and is named in divergence_sampling.exclude_shards"
    return Measurement(
        "shards_ready",
        {data.name(): len(missing)},
        tuple(f"{shard} {why}" for shard, why in sorted(missing.items())),
    )


def no_removed_drops(data: CheckedPartition) -> Measurement:
    """Samples of drops that were taken out of the inbox."""
    removed = set(data.removed())
    rows = data.pairs(
        """select question_shard, count(*) from divergence_candidates where is_selected
           group by question_shard order by question_shard"""
    )
    found = {shard: n for shard, n in rows.items() if shard in removed}
    return Measurement(
        "no_removed_drops",
        {data.name(): sum(found.values())},
        tuple(
            f"{shard}: {n} sample(s); put the drop back, or `dasd retire {shard}`"
            for shard, n in found.items()
        ),
    )


def _sample(profile: Profile) -> Measure:
    settings = profile.divergence_sampling

    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        temperature = data.partition[TEMPERATURE]
        data.view_all("filtered_responses", temperature=temperature)
        data.view_all("questions")
        unit, budget = settings.budget(temperature)
        size = "sum(n_student_tokens)" if unit == "tokens" else "count(*)"
        rows = data.row(
            f"""select count(*) as n, coalesce({size}, 0) as size, avg(n_student_tokens) as mean,
                       coalesce(sum(n_student_tokens), 0) as tokens from divergence_sample"""
        )
        yield Measurement("not_empty", {data.name(): rows["n"]})
        seen = {"selected": int(rows["size"]), "budget": budget, "unit": unit}
        yield Measurement("budget_met", {data.name(): rows["size"] / budget}, details=seen)
        over, ids = data.broken(
            """select question_id from divergence_sample
               group by question_id having count(*) > $most""",
            most=settings.max_answers_per_question,
        )
        yield Measurement("answers_per_question", {data.name(): over}, ids)
        unknown, ids = data.broken(
            """select response_id from divergence_sample anti join filtered_responses
               using (response_id)
               union
               select coalesce(s.response_id, c.response_id) from divergence_sample as s full join
                   (select response_id from divergence_candidates where is_selected) as c
                   using (response_id)
               where s.response_id is null or c.response_id is null"""
        )
        yield Measurement("known_responses", {data.name(): unknown}, ids)
        yield no_shard_lost(data, settings.exclude_shards)
        yield shards_ready(data, settings.exclude_shards)
        yield no_removed_drops(data)
        yield known_questions(data, "divergence_sample", "response_id")
        context = within_context(profile.response_filtering.max_student_tokens)
        for rule in (context, POSITIVE_WEIGHT):
            yield rows_that_break(data, "divergence_sample", "response_id", rule)
        mean = data.row(
            "select avg(weight) filter (isfinite(weight)) as mean from divergence_sample"
        )["mean"]
        yield Measurement("mean_weight", {} if mean is None else {data.name(): mean})
        found = domain_shares(data, "divergence_sample", size=size)
        wanted = settings.domain_shares.get(temperature) or domain_shares(data, _ALLOWED, size=size)
        names = sorted({*found, *wanted}) if found else []
        gaps = {name: abs(found.get(name, 0.0) - wanted.get(name, 0.0)) for name in names}
        yield Measurement("domain_balance", gaps, details={"sample": found, "wanted": dict(wanted)})
        sums = (
            f"coalesce(sum(n_student_tokens) filter (is_{name}_control), 0) as {name}"
            for name in CONTROLS
        )
        controls = data.row(f"select {', '.join(sums)} from divergence_candidates")
        ratios = {name: share(tokens, rows["tokens"]) for name, tokens in controls.items()}
        yield Measurement("control_budget", ratios if rows["tokens"] else {})
        yield Summary(rows["n"], {"student_tokens": rows["mean"]} if rows["n"] else {}, found)

    return measure
