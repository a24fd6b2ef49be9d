"""The inbox sensor: a new drop becomes a question shard, and just its partitions are asked for."""

import dagster as dg

from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile, resolve_path
from dasd_assets.questions.inbox import list_inbox

SECONDS_BETWEEN_TICKS = 30


def build(profile: Profile) -> dg.SensorDefinition:
    """The sensor of one profile; it is off until somebody switches it on in the UI."""
    inbox = resolve_path(profile.questions.inbox)
    target = dg.AssetSelection.assets("raw_questions", "questions")
    job = dg.define_asset_job("curate_questions", target)

    @dg.sensor(job=job, minimum_interval_seconds=SECONDS_BETWEEN_TICKS)
    def new_question_drops(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Registers every new drop of the inbox as a question shard and curates it."""
        listing = list_inbox(inbox)
        for reason in listing.refused.values():
            context.log.warning(reason)
        known = set(context.instance.get_dynamic_partitions(QUESTION_SHARD))
        new = [shard for shard in listing.drops if shard not in known]
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=shard, partition_key=shard) for shard in new],
            dynamic_partitions_requests=[question_shards.build_add_request(new)] if new else [],
        )

    return new_question_drops
