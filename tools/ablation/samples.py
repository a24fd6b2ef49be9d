"""What the arms are trained on, as far as it can be drawn before any of them is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.ready_shards import shards_to_draw_from
from dasd_assets.divergence_sampling.sample import sample_of
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.profile import DivergenceSampling, Profile
from dasd_assets.verification.graders import Graders
from formats.student_text import response_parts
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE
from tools.ablation.arms import ABLATION_SEED, Draw

if TYPE_CHECKING:
    from resources.lake.lake import Lake


POLICIES: Final = {
    "count": "divergence_count", "share": "divergence_share", "longest": "longest",
    "random": "divergence_count",
}  # fmt: skip
"""By what a draw ranks; the random control has as many tokens as the selection by count."""


@dataclass(frozen=True)
class Drawn:
    """A sample that has been written: hash of its rows, and its student tokens."""

    version: str
    n_tokens: int


@dataclass(frozen=True)
class Pool:
    """All that can be drawn at one temperature.

    Attributes:
        responses: rows with the schema RESPONSE_PROVENANCE and a column question_shard.
        shards: partitions that they came from.
        is_right: response_id -> its grader's verdict; one without a reference is not there.
    """

    responses: pa.Table
    shards: list[dict[str, str]]
    is_right: Mapping[str, bool]


def read_pool(
    lake: Lake, temperature: str, references: Mapping[str, str], graders: Graders
) -> Pool:
    """The filtered and scored answers of a temperature, judged.

    Raises:
        ContractError: there are none, or a shard has not been scored.
    """
    shards = shards_to_draw_from(lake, temperature, require_all=True).ready
    responses = lake.read_partitions("response_provenance", temperature=temperature)
    columns = ["response_id", "question_id", "domain", "question", "response_text"]
    texts = lake.read_partitions("filtered_responses", columns, temperature=temperature)
    verdicts = judged(texts, references, graders)
    ids = texts["response_id"].to_pylist()
    is_right = {
        name: verdict for name, verdict in zip(ids, verdicts, strict=True) if verdict is not None
    }
    return Pool(responses.drop_columns("temperature"), shards, is_right)


def judged(rows: pa.Table, references: Mapping[str, str], graders: Graders) -> list[bool | None]:
    """Whether each answer is right; None where its question has no reference to judge it by.

    Args:
        rows: with the columns question_id, domain, question and response_text.
        references: question_id -> reference answer as JSON.
    """

    def verdict(row: dict[str, Any]) -> bool | None:
        reference = references.get(row["question_id"])
        if reference is None:
            return None
        answer = response_parts(row["response_text"])[1]
        with suppress(ValueError):  # of no use as a reference, or no verdict
            return graders.grade(
                row["domain"], answer, json.loads(reference), row["question"]
            ).is_correct
        return None

    with ThreadPoolExecutor(2) as threads:  # the slow ones wait for a process of their own
        columns = ["question_id", "domain", "question", "response_text"]
        return list(threads.map(verdict, rows.select(columns).to_pylist()))


def drawn(
    draw: Draw, pool: Pool, settings: DivergenceSampling, n_tokens: Mapping[str, int], seed: int
) -> pa.Table:
    """The candidates of a draw; `is_selected` says which are drawn.

    Args:
        n_tokens: tokens of the samples that were drawn already.

    Returns:
        Rows with the schema DIVERGENCE_CANDIDATES.
    """
    if draw.tokens_of:
        budget = sum(n_tokens[name] for name in draw.tokens_of)
        others = {
            name: size for name, size in settings.budget_samples.items() if name != draw.temperature
        }
        settings = settings.model_copy(
            update={"budget_samples": others, "budget_tokens": {draw.temperature: budget}}
        )
    settings = settings.model_copy(update={"policy": POLICIES[draw.by]})
    candidates = select(pool.responses, settings, draw.temperature, seed)
    if draw.by == "random":
        place = candidates.schema.get_field_index("is_selected")
        field = candidates.schema.field(place)
        candidates = candidates.set_column(place, field, candidates["is_random_control"])
    return candidates


def write_draws(
    lake: Lake,
    store: Lake,
    draws: Mapping[str, Draw],
    pools: Mapping[str, Pool],
    profile: Profile,
    seed: int,
) -> dict[str, Drawn]:
    """Draw every sample with one seed and write it as training rows (DIVERGENCE_SAMPLE).

    Args:
        lake: where the answers are.
        store: where the samples go.
        pools: by temperature.
    """
    written: dict[str, Drawn] = {}
    for name, draw in draws.items():
        pool = pools[draw.temperature]
        n_tokens = {other: sample.n_tokens for other, sample in written.items()}
        settings = profile.divergence_sampling
        candidates = drawn(draw, pool, settings, n_tokens, profile.seed + seed)
        scratch = Path(store.root, "_scratch")
        with sample_of(candidates, lake, pool.shards, scratch, settings.weights) as batches:
            sample = pa.Table.from_batches(batches, DIVERGENCE_SAMPLE)
        file = store.write("divergence_sample", sample, sample_place(seed, name))
        verdicts = [pool.is_right.get(response) for response in sample["response_id"].to_pylist()]
        chosen = candidates.filter(candidates["is_selected"])
        teacher = {
            name: pc.mean(chosen[name]).as_py()
            for name in ("n_teacher_sentences", "teacher_sentence_share")
        }
        facts = facts_of(sample, verdicts) | teacher
        publish_facts(store, seed, name, facts)
        written[name] = Drawn(file.data_version, int(facts["n_tokens"]))
    return written


def sample_place(seed: int, name: str) -> dict[str, str]:
    """Partition of a sample."""
    return {ABLATION_SEED: str(seed), "sample": name}


def facts_of(sample: pa.Table, verdicts: Sequence[bool | None]) -> dict[str, float]:
    """Samples, student tokens, and the share of right answers among those that were judged."""
    known = [verdict for verdict in verdicts if verdict is not None]
    facts = {
        "n_samples": sample.num_rows,
        "n_tokens": pc.sum(sample["n_student_tokens"]).as_py() or 0,
    }
    return facts | {"right_share": sum(known) / len(known)} if known else facts


def publish_facts(store: Lake, seed: int, name: str, facts: Mapping[str, float]) -> None:
    """Keep what is known of a sample."""
    store.publish_file(_facts_file(seed, name), json.dumps(facts, indent=1).encode())


def read_facts(store: Lake, seed: int, name: str) -> dict[str, float]:
    """What is known of a sample."""
    text = Path(store.root, _facts_file(seed, name)).read_text(encoding="utf-8")
    facts: dict[str, float] = json.loads(text)
    return facts


def _facts_file(seed: int, name: str) -> str:
    return f"samples/seed-{seed}/{name}.json"
