"""A question shard is taken out: what leaves with it is shown first, and nothing is destroyed.

What was made of it moves from the lake's tables into the folder `_retired`, so that answers that
were paid for are not lost; the samples that have rows of it are noted as to be drawn anew, and the
shards of which it had questions first as to be curated anew, as these are theirs now; the partition
is no more. To leave a shard out and keep it, there is `exclude_shards`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
import pyarrow.compute as pc
from pydantic import Field

from dasd_assets.dagster_internals import AssetGraph
from dasd_assets.declaring.jobs import backfill_out_of_date
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards
from dasd_assets.profile import Profile
from dasd_assets.questions.curation.rejections import rejected_for
from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox
from resources.lake.lake import CHECK_RESULTS, Lake
from resources.lake.manifests import mark
from resources.lake.tables import TABLES

JOB = "retire_question_shard"
SAMPLE, CANDIDATES = "divergence_sample", "divergence_candidates"
MIXED = "mixed_policy_sample"
QUESTIONS, REJECTED = "questions", "rejected_questions"
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
UNFINISHED_BACKFILL = ("REQUESTED", "CANCELING", "FAILING")


class RetireError(ValueError):
    """A shard that cannot be retired now; the message says what to do."""


@dataclass(frozen=True)
class Leaving:
    """What leaves with a shard.

    Attributes:
        partitions: table -> partitions of it that are the shard's.
        rows: table -> rows in these.
        samples: temperature -> samples of the shard.
        drawn_anew: temperatures whose sample was drawn from the shard, chosen or not.
        returning: other shard -> its rows that were rejected because this shard had the question.
        stale: assets that were made of these samples, and of what was made of them.
    """

    shard: str
    partitions: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    drawn_anew: list[str] = field(default_factory=list)
    returning: dict[str, int] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """As a person reads it."""
        for table, n in self.rows.items():
            yield f"{table}: {n} row(s) in {len(self.partitions[table])} partition(s)"
        for temperature in self.drawn_anew:
            n = self.samples.get(temperature, 0)
            yield f"{SAMPLE} {temperature}: {n} sample(s) of it; to be drawn anew"
        for shard, n in self.returning.items():
            yield f"{QUESTIONS} {shard}: {n} row(s) were rejected for it; to be curated anew"
        if self.stale:
            yield f"stale after that: {', '.join(self.stale)}"


def leaving(
    lake: Lake, instance: dg.DagsterInstance, shard: str, graph: AssetGraph | None = None
) -> Leaving:
    """Look at what a shard has everywhere; changes nothing.

    Args:
        graph: where it is given, what becomes stale is found, too.
    """
    found = Leaving(shard)
    for table, declared in TABLES.items():
        if QUESTION_SHARD not in declared.dimensions:
            continue
        if partitions := lake.partitions(table, **{QUESTION_SHARD: shard}):
            found.partitions[table] = partitions
            first = declared.schema.names[:1]
            found.rows[table] = sum(lake.read(table, one, first).num_rows for one in partitions)
    for partition in lake.partitions(CANDIDATES):
        rows = lake.read(CANDIDATES, partition, [QUESTION_SHARD, "is_selected"])
        rows = rows.filter(pc.equal(rows[QUESTION_SHARD], shard))
        if rows.num_rows:
            found.drawn_anew.append(partition[TEMPERATURE])
            if n := pc.sum(rows["is_selected"]).as_py():
                found.samples[partition[TEMPERATURE]] = n
    for partition in lake.partitions(REJECTED):
        rows = lake.read(REJECTED, partition, ["reason", "evidence"])
        other = partition[QUESTION_SHARD]
        if other != shard and (n := pc.sum(rejected_for(shard, rows)).as_py()):
            found.returning[other] = n
    if graph is not None and found.drawn_anew:
        found.stale.extend(_made_below(graph, instance, found.drawn_anew))
    return found


def _made_below(
    graph: AssetGraph, instance: dg.DagsterInstance, temperatures: list[str]
) -> Iterator[str]:
    """Assets that were made below the samples of some temperatures."""
    sample, below = dg.AssetKey(SAMPLE), set[dg.AssetKey]()
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        for key in graph.toposorted_asset_keys:
            node = graph.get(key)
            read = set(temperatures)
            if sample in node.parent_keys and node.partitions_def is None:
                found = graph.get_parent_partition_keys_for_child(None, sample, key)
                read &= set(found.partitions_subset.get_partition_keys())
            if node.parent_keys & below or (sample in node.parent_keys and read):
                below.add(key)
                if instance.get_latest_materialization_event(key) is not None:
                    yield key.to_user_string()


def retire(
    lake: Lake, instance: dg.DagsterInstance, inbox: str, shard: str, own_run: str | None = None
) -> Leaving:
    """Take a shard out; what was begun before can be begun again.

    Args:
        inbox: the profile's, which must not have the drop any more.
        own_run: a run that does this.

    Raises:
        RetireError: there is no such shard, its drop would be registered again, or a run or a
            backfill is not finished.
    """
    require_retirable(lake, instance, inbox, shard, own_run)
    found = leaving(lake, instance, shard)
    for temperature in found.drawn_anew:
        name = lake.name(SAMPLE, {TEMPERATURE: temperature})
        mark(lake, name, f"has samples of the retired question_shard {shard}")
    if found.drawn_anew and lake.exists(MIXED):
        mark(lake, lake.name(MIXED), f"may have samples of the retired question_shard {shard}")
    for other in found.returning:
        name = lake.name(QUESTIONS, {QUESTION_SHARD: other})
        mark(lake, name, f"lost questions to the retired question_shard {shard}")
    for table, partitions in found.partitions.items():
        for partition in partitions:
            lake.retire(table, partition)
    for name in lake.listing(f"{CHECK_RESULTS}/"):
        if f"/{QUESTION_SHARD}={shard}/" in name:
            lake.take_away(name)  # of what is there no more, nobody could have it checked again
    instance.delete_dynamic_partition(QUESTION_SHARD, shard)
    return found


def require_retirable(
    lake: Lake, instance: dg.DagsterInstance, inbox: str, shard: str, own_run: str | None = None
) -> None:
    """Refuse what `retire` would refuse, before anything is looked at.

    Raises:
        RetireError: as `retire`.
    """
    registered = instance.get_dynamic_partitions(QUESTION_SHARD)
    if shard not in registered and not leaving(lake, instance, shard).partitions:
        raise RetireError(f"no question_shard {shard!r}; there are {', '.join(registered)}")
    try:
        listing = list_inbox(inbox_at(inbox))
    except InboxError:
        listing = None
    if listing and (drop := listing.drops.get(shard)):
        raise RetireError(
            f"{drop} is still in the inbox and would be registered again: take it out first. To "
            f"keep it and leave it out of the samples, name {shard} in "
            "divergence_sampling.exclude_shards."
        )
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    if others := [run.run_id[:8] for run in runs if run.run_id != own_run]:
        raise RetireError(
            f"run(s) {', '.join(others)} are not finished and may be using {shard}: wait for them "
            "or cancel them"
        )
    going_on = [one for one in instance.get_backfills() if one.status.value in UNFINISHED_BACKFILL]
    if going_on:
        raise RetireError(
            f"backfill(s) {', '.join(one.backfill_id for one in going_on)} are not finished and "
            f"may ask for {shard} yet: wait for them or cancel them"
        )


class Retired(dg.Config):
    """Which shard, and whether it is meant."""

    question_shard: str = Field(description="the question_shard to take out, such as drop-01")
    yes: bool = Field(
        default=False, description="false: only write into the log what would leave; true: do it"
    )


def build(profile: Profile) -> dg.JobDefinition:
    """The job of one profile that does what `dasd retire` does."""

    @dg.op(name="retire_shard", out=dg.Out(dg.Nothing))
    def retire_shard(context: dg.OpExecutionContext, config: Retired, lake: Lake) -> None:
        arguments = (
            lake, context.instance, profile.questions.inbox, config.question_shard, context.run_id,
        )  # fmt: skip
        if config.yes:
            found = retire(*arguments)
        else:
            require_retirable(*arguments)
            found = leaving(
                lake, context.instance, config.question_shard, context.repository_def.asset_graph
            )
        said = "left" if config.yes else "would leave; nothing was changed (set `yes` to do it)"
        context.log.info("\n".join([f"{config.question_shard} {said}:", *found.lines()]))
        metadata: dict[str, int | str] = {**found.rows, "samples": sum(found.samples.values())}
        if config.yes and (found.drawn_anew or found.returning):
            # Automation sees no event of an input here: what left is none.
            keys = [SAMPLE, *([QUESTIONS] if found.returning else [])]
            metadata |= backfill_out_of_date(
                context, lake, profile, JOB, {dg.AssetKey(key) for key in keys},
                {QUESTION_SHARD: (question_shards, set(found.returning))},
            )  # fmt: skip
        context.add_output_metadata(metadata)

    @dg.job(
        name=JOB,
        description="Take a question_shard out: a preview of what leaves, and with `yes` its rows "
        "leave the tables (into the lake's folder `_retired`), the samples are drawn anew and the "
        "partition is gone. Its drop has to be out of the inbox.",
        executor_def=dg.in_process_executor,
    )
    def retire_question_shard() -> None:
        retire_shard()

    return retire_question_shard
