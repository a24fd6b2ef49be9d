"""Checks on question drops, evaluation sets and curated questions."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition, share, shares
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.row_rules import known_domains, rows_that_break
from dasd_assets.partitions import QUESTION_SHARD, benchmarks, question_shards
from dasd_assets.profile import Profile


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks(
            profile, "raw_questions", _raw(tuple(profile.domains)),
            partitions_def=question_shards, dimension=QUESTION_SHARD,
        ),
        asset_checks(
            profile, "benchmark_questions", _benchmark(tuple(profile.domains)),
            partitions_def=benchmarks(profile), dimension="benchmark",
        ),
        asset_checks(
            profile, "questions",
            _curated(profile.questions.decontamination_ngram_words, tuple(profile.domains)),
            partitions_def=question_shards, dimension=QUESTION_SHARD,
        ),
    ]  # fmt: skip


def _raw(domains: tuple[str, ...]) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        usable = data.row("select count(*) as n from raw_questions")["n"]
        quarantined, _ = data.broken("select line from quarantined_rows")
        reasons = data.connection.sql(
            """select drop || ':' || line || ': ' || reason || ' (' || evidence || ')'
               from quarantined_rows order by drop, line limit 5"""
        ).fetchall()
        examples = tuple(text for (text,) in reasons)
        yield Measurement("has_usable_rows", {data.name(): usable}, examples)
        part = share(quarantined, usable + quarantined)
        yield Measurement("few_quarantined", {data.name(): part}, examples)
        yield _known_domains(data, "raw_questions", "drop || ':' || line", domains)
        lengths = data.row("select avg(strlen(question)) as mean from raw_questions")
        yield Summary(
            usable,
            {"question_bytes": lengths["mean"]} if usable else {},
            {"quarantined": part, **domain_shares(data, "raw_questions")},
        )

    return measure


def _benchmark(domains: tuple[str, ...]) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        row = data.row(
            "select count(*) as n, avg(strlen(question)) as mean from benchmark_questions"
        )
        yield Measurement("not_empty", {data.name(): row["n"]})
        yield _known_domains(data, "benchmark_questions", "question_id", domains)
        yield Summary(
            row["n"],
            {"question_bytes": row["mean"]} if row["n"] else {},
            domain_shares(data, "benchmark_questions"),
        )

    return measure


def _curated(ngram_words: int, domains: tuple[str, ...]) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view_all("questions", "elsewhere", without=data.partition)
        data.view("raw_questions", QUESTION_SHARD)
        repeated, ids = data.broken(
            """select question_id from questions group by question_id having count(*) > 1
               union select question_id from questions semi join elsewhere using (question_id)"""
        )
        yield Measurement("unique_in_all_shards", {data.name(): repeated}, ids)
        unaccounted, lines = data.broken(
            """select drop || ':' || line from (
                    select drop, line, 1 as n from raw_questions
                    union all select drop, line, -1 from questions
                    union all select drop, line, -1 from rejected_questions
                ) group by drop, line having sum(n) <> 0"""
        )
        yield Measurement("none_lost", {data.name(): unaccounted}, lines)
        contaminated = _contaminated(data, ngram_words)
        yield Measurement(
            "not_contaminated", {data.name(): len(contaminated)}, tuple(contaminated[:5])
        )
        yield _known_domains(data, "questions", "question_id", domains)
        rows = data.row(
            """select (select count(*) from rejected_questions) as rejected,
                      count(*) as kept, avg(strlen(question)) as mean from questions"""
        )
        rejected = share(rows["rejected"], rows["rejected"] + rows["kept"])
        yield Measurement("few_rejected", {data.name(): rejected})
        everywhere = "(from questions select domain union all from elsewhere select domain)"
        yield Measurement("domain_balance", domain_shares(data, everywhere, domains))
        yield Summary(
            rows["kept"],
            {"question_bytes": rows["mean"]} if rows["kept"] else {},
            {"rejected": rejected, **domain_shares(data, "questions")},
        )

    return measure


def _contaminated(data: CheckedPartition, ngram_words: int) -> list[str]:
    """Stored questions that share an n-gram with an evaluation question, with the n-gram."""
    from dasd_assets.questions.curation.decontamination import EvaluationGrams
    from dasd_assets.questions.curation.shards import user_turns

    held_out = data.lake.read_partitions("benchmark_questions", ["question", "benchmark"])
    grams = EvaluationGrams(held_out, ngram_words)
    columns = ["question_id", "question", "earlier_messages"]
    found = []
    for batch in data.lake.batches("questions", data.partition, columns):
        turns = map(user_turns, *(batch[name].to_pylist() for name in columns[1:]))
        for index, evidence in grams.matches_of_turns(list(turns)).items():
            found.append(f"{batch['question_id'][index]}: {evidence}")
    return found


def _known_domains(
    data: CheckedPartition, table: str, id_sql: str, domains: tuple[str, ...]
) -> Measurement:
    shown = f"{id_sql} || ' (' || domain || ')'"
    return rows_that_break(data, table, shown, known_domains(domains))


def domain_shares(
    data: CheckedPartition, table: str, domains: tuple[str, ...] = (), size: str = "count(*)"
) -> dict[str, float]:
    """Share of each domain in the rows (or another size) of a table.

    Args:
        domains: domains that are named even if there is no row of them.
    """
    counts = data.pairs(f"select domain, {size} from {table} group by domain order by domain")
    return shares({**dict.fromkeys(domains, 0), **counts})
