"""The inbox sensor: a new drop becomes a question shard, and just its partitions are asked for.

What was seen of a drop is kept in the instance as an observation of `question_drops`, with the
hash of the content as data version: a changed drop makes `raw_questions` of its shard stale.
"""

from collections.abc import Iterator

import dagster as dg

from dasd_assets.dagster_internals import DATA_VERSION_TAG
from dasd_assets.declaring.jobs import READ_QUESTIONS, run_tags
from dasd_assets.declaring.materializations import newest_first
from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile
from dasd_assets.questions.inbox import drop_table
from dasd_assets.questions.inbox.drop_table import QUESTION_DROPS, RAW_QUESTIONS
from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox
from dasd_assets.questions.inbox.observed_drops import InboxChanges, Seen, inbox_changes, n_bytes

SECONDS_BETWEEN_TICKS = 30
QUESTIONS = dg.AssetKey("questions")
PRIORITY_TAG = "dagster/priority"
HIGHEST_PRIORITY = 12
BYTES_A_TICK = 2 * 1024**3
"""Dagster gives a tick a minute; so much is read in half of it even at 100 MB/s."""


def question_drops(profile: Profile) -> dg.AssetSpec:
    """The inbox as an asset that Dagster does not make, but sees change."""
    return dg.AssetSpec(
        QUESTION_DROPS,
        partitions_def=question_shards,
        group_name="questions",
        kinds={"file"},
        owners=["team:data-engineering"],
        description="Drops of questions in the inbox, one per question_shard, as the sensor "
        "`new_question_drops` and `dasd run` last saw them.\n\n"
        "```text\ndata version = hash of the drop's content\n```",
        metadata={"inbox": profile.questions.inbox},
    )


def build(profile: Profile) -> dg.SensorDefinition:
    """The sensor of one profile; it is off until somebody switches it on in the UI."""
    inbox = inbox_at(profile.questions.inbox)

    @dg.sensor(
        job=READ_QUESTIONS,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        description="Registers every new drop of the inbox as a question_shard and asks for its "
        "questions. A drop whose content changed is read again. One that is gone, that has the "
        "same content as another, or whose name cannot be used is told here, with what to do.",
    )
    def new_question_drops(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        instance = context.instance
        try:
            listing = list_inbox(inbox)
        except InboxError as error:
            return dg.SkipReason(str(error))
        registered = set(instance.get_dynamic_partitions(QUESTION_SHARD))
        seen = seen_drops(instance)
        changes = inbox_changes(listing, seen, registered, most_bytes=BYTES_A_TICK)
        for warning in changes.warnings:
            context.log.warning(warning)
        never_read = registered & listing.drops.keys() & seen.keys()
        never_read -= instance.get_materialized_partitions(RAW_QUESTIONS)
        asked = sorted({*changes.new, *changes.changed, *never_read})
        if table := drop_table.look(instance, listing, seen | changes.seen):
            instance.report_runless_asset_event(table)
        if not asked and not changes.seen:
            return dg.SkipReason("\n".join(changes.warnings) or "no new and no changed drop")
        return dg.SensorResult(
            # The key holds the drop's state: the same drop is asked for once, by whatever tick.
            run_requests=[
                dg.RunRequest(
                    run_key=f"{shard}@{(changes.seen.get(shard) or seen[shard]).state}",
                    partition_key=shard,
                    tags={
                        **run_tags(profile.name, "new_question_drops"),
                        PRIORITY_TAG: str(priority(n_bytes(listing.drops[shard]))),
                    },
                    # Conditions see by it that both were made in the same run.
                    asset_selection=[RAW_QUESTIONS, QUESTIONS],
                )
                for shard in asked
            ],
            dynamic_partitions_requests=(
                [question_shards.build_add_request(changes.new)] if changes.new else []
            ),
            asset_events=list(observations(changes)),
        )

    return new_question_drops


def priority(n_bytes: int) -> int:
    """Of the run that reads a drop, in the queue: a small one passes, whatever came before it.

    One less for ten times the bytes, never below what other runs have, which is 0.
    """
    return max(0, HIGHEST_PRIORITY - len(str(n_bytes)))


def register_drops(instance: dg.DagsterInstance, profile: Profile) -> InboxChanges:
    """Do once, without runs, what the sensor does in as many ticks as it needs.

    Raises:
        InboxError: the inbox is no folder.
    """
    registered = set(instance.get_dynamic_partitions(QUESTION_SHARD))
    listing, seen = list_inbox(inbox_at(profile.questions.inbox)), seen_drops(instance)
    changes = inbox_changes(listing, seen, registered, settled_seconds=0)
    instance.add_dynamic_partitions(QUESTION_SHARD, changes.new)
    for observation in observations(changes):
        instance.report_runless_asset_event(observation)
    if table := drop_table.look(instance, listing, seen | changes.seen):
        instance.report_runless_asset_event(table)
    return changes


def check(profile: Profile) -> dg.AssetChecksDefinition:
    """How every drop stands; the sensor and `dasd run` look each time, a person may in the UI."""

    @dg.asset_check(
        asset=QUESTION_DROPS,
        name=drop_table.CHECK,
        description="Each drop: present, changed, new, gone from the inbox while what was made of "
        "it is still there, a duplicate of another, or refused; and the rows that were read of it.",
    )
    def drops_in_order(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        listing = list_inbox(inbox_at(profile.questions.inbox))
        found = drop_table.evaluated(context.instance, listing, seen_drops(context.instance))
        return dg.AssetCheckResult(check_name=drop_table.CHECK, **found)

    return drops_in_order


def seen_drops(instance: dg.DagsterInstance) -> dict[str, Seen]:
    """Shard -> its drop as it was last seen."""
    seen: dict[str, Seen] = {}
    for record in newest_first(instance.fetch_observations, QUESTION_DROPS):
        observation = record.asset_observation
        if observation is not None and observation.partition is not None:
            content, state = (observation.metadata.get(name) for name in ("content", "state"))
            if content is not None and state is not None:
                seen.setdefault(observation.partition, Seen(str(content.value), str(state.value)))
    return seen


def removed_drops(instance: dg.DagsterInstance, inbox: str) -> set[str]:
    """Registered shards whose drop was in the inbox once and is there no more.

    None where the inbox cannot be read: a machine that has not got it knows nothing of its drops.
    """
    try:
        listing = list_inbox(inbox_at(inbox))
    except InboxError:
        return set()
    registered = set(instance.get_dynamic_partitions(QUESTION_SHARD))
    return (registered & seen_drops(instance).keys()) - listing.drops.keys() - listing.ambiguous


def observations(changes: InboxChanges) -> Iterator[dg.AssetObservation]:
    """What was seen, for the instance to keep."""
    for shard, seen in changes.seen.items():
        yield dg.AssetObservation(
            QUESTION_DROPS,
            partition=shard,
            tags={DATA_VERSION_TAG: seen.content},
            metadata={"content": seen.content, "state": seen.state},
        )
