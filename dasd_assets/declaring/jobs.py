"""Jobs named for what a user wants: each finds what is out of date and backfills just that.

A Dagster asset job has one partitioning, and its launchpad asks for the partitions. What a user
wants spans several: so each of these jobs has one step that looks for missing and stale partitions
of its assets and starts one backfill of them, which the Dagster daemon runs in the right order,
within the pools. The backfill is followed, cancelled and retried under Runs → Backfills.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import dagster as dg
from pydantic import Field

from dasd_assets.dagster_internals import Subset, start_backfill
from dasd_assets.declaring.out_of_date import Dimensions, OutOfDate, Staleness
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards, temperatures
from dasd_assets.profile import Profile
from resources.lake.lake import Lake

SHOWN_KEYS = 10


class UnknownPartitionError(ValueError):
    """A partition that was asked for and does not exist."""


class Scope(dg.Config):
    """Which partitions a job looks at."""

    question_shards: list[str] = Field(
        default=[], description="only these question_shards, such as drop-01; empty: all"
    )
    temperatures: list[str] = Field(
        default=[], description="only these temperatures, such as low; empty: all"
    )


@dataclass(frozen=True)
class Wanted:
    """One job."""

    name: str
    groups: tuple[str, ...]
    description: str
    also: str = ""
    """Assets of other groups, in Dagster's selection syntax."""

    @property
    def selection(self) -> dg.AssetSelection:
        """The assets that it makes."""
        found = dg.AssetSelection.groups(*self.groups)
        return found | dg.AssetSelection.from_string(self.also) if self.also else found


JOBS: Final = (
    Wanted(
        "sample_teacher",
        ("models", "questions", "teacher_responses"),
        "Ask the teacher what it has not been asked: read and curate the questions of every "
        "question_shard, then sample answers at each temperature. Answers that are there to the "
        "very same request are kept, not asked for again.",
    ),
    Wanted(
        "prepare_training_sets",
        ("response_filtering", "divergence_sampling"),
        "Filter the teacher's answers, score them with the base student, draw the divergence "
        "samples and pack them as tokens: all that can be made before a training, which is all but "
        "the last stage's set. Asks the teacher nothing; what it has not answered yet is left out, "
        "and named.",
        also='key:"*_temperature_training_set" or key:"student_training_set/*"',
    ),
    Wanted(
        "train_student",
        ("temperature_scheduled_learning", "mixed_policy_distillation"),
        "Train the student on the current divergence samples: both temperatures, then its own "
        "rollouts finished by the teacher (these are asked for), then the last stage. Running "
        "this job is the approval that the check `trained_on_current_sample` asks for.",
    ),
    Wanted(
        "evaluate",
        ("evaluation",),
        "Let every trained checkpoint that has no current evaluation answer the evaluation sets, "
        "and write the stage report.",
    ),
    Wanted(
        "everything",
        (
            "models", "questions", "teacher_responses", "response_filtering",
            "divergence_sampling", "temperature_scheduled_learning", "mixed_policy_distillation",
            "evaluation", "release",
        ),
        "All that is missing or stale, from the questions to the releases, training included.",
    ),
)  # fmt: skip


READ_QUESTIONS: Final = dg.define_asset_job(
    "read_questions",
    dg.AssetSelection.assets("raw_questions", "questions"),
    description="Read the drop of one question_shard and curate its questions.",
)
"""What the inbox sensor runs for each new or changed drop."""


def build(profile: Profile) -> list[dg.JobDefinition]:
    """The jobs of one profile."""
    return [_job(wanted, profile) for wanted in JOBS]


def _job(wanted: Wanted, profile: Profile) -> dg.JobDefinition:
    @dg.op(
        name=f"start_backfill_to_{wanted.name}",
        description="Starts one backfill of what is out of date; the log names its partitions.",
        out=dg.Out(dg.Nothing),
    )
    def start(context: dg.OpExecutionContext, config: Scope, lake: Lake) -> None:
        graph = context.repository_def.asset_graph
        selection = wanted.selection.resolve(graph)
        among = {
            name: (partitions_def, _existing(context.instance, partitions_def, name, keys))
            for name, partitions_def, keys in (
                (QUESTION_SHARD, question_shards, config.question_shards),
                (TEMPERATURE, temperatures(profile), config.temperatures),
            )
            if keys
        }
        metadata = backfill_out_of_date(context, lake, profile, wanted.name, selection, among)
        context.add_output_metadata(metadata)

    @dg.job(name=wanted.name, description=wanted.description, executor_def=dg.in_process_executor)
    def job() -> None:
        start()

    return job


def backfill_out_of_date(
    context: dg.OpExecutionContext,
    lake: Lake,
    profile: Profile,
    by: str,
    selection: AbstractSet[dg.AssetKey],
    among: Dimensions | None = None,
) -> dict[str, int | str]:
    """Start one backfill of what is missing or stale; the log names its partitions.

    Args:
        by: what asks for it; the backfill's title, and a tag of its runs.
        selection: assets that are looked at.
        among: only these partitions are.

    Returns:
        For the step's metadata: the number of partitions by asset, and the backfill's id.
    """
    graph = context.repository_def.asset_graph
    found = Staleness(graph, context.instance, lake).out_of_date(selection, among)
    metadata: dict[str, int | str] = {
        key.to_user_string(): subset.size for key, subset in found.ready.items()
    }
    context.log.info(f"out of date:\n{_lines(found.ready) or 'nothing'}")
    for line in _waiting(found):
        context.log.warning(line)
    if found.ready:
        backfill_id = start_backfill(
            context.instance, found.ready.values(), by, _lines(found.ready),
            run_tags(profile.name, by),
        )  # fmt: skip
        metadata["backfill"] = backfill_id
        context.log.info(f"started backfill {backfill_id}; see Runs → Backfills")
    return metadata


def run_tags(profile: str, by: str) -> dict[str, str]:
    """What a person filters runs by: the profile, and what started them."""
    return {"profile": profile, "dasd/by": by}


def _existing(
    instance: dg.DagsterInstance,
    partitions_def: dg.PartitionsDefinition,
    dimension: str,
    keys: list[str],
) -> list[str]:
    existing = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    unknown = sorted(set(keys) - set(existing))
    if unknown:
        raise UnknownPartitionError(
            f"no {dimension} {', '.join(map(repr, unknown))}. There are: "
            f"{', '.join(existing) or 'none yet'}. A new question_shard is registered by the "
            "sensor new_question_drops or by `dasd run`."
        )
    return keys


def _lines(subsets: dict[dg.AssetKey, Subset]) -> str:
    return "\n".join(f"{key.to_user_string()}: {_named(one)}" for key, one in subsets.items())


def _named(subset: Subset) -> str:
    if not subset.is_partitioned:
        return "the asset"
    keys = sorted(subset.expensively_compute_partition_keys())
    more = f", … ({len(keys)} partitions)" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more


def _waiting(found: OutOfDate) -> list[str]:
    causes = "; ".join(f"{key.to_user_string()} {_named(one)}" for key, one in found.causes.items())
    return [
        f"{key.to_user_string()} {_named(one)}: left out, an input was never made ({causes})"
        for key, one in found.waiting.items()
    ]
