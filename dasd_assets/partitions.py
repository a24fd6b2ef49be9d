"""Partitions of the asset graph and how they map onto each other.

`temperature` is static (its names are the profile's), `question_shard` is dynamic: every drop of
questions becomes one shard. Adding a shard never touches the partitions of another one.
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from dasd_assets.profile import Profile

QUESTION_SHARD = "question_shard"
TEMPERATURE = "temperature"

question_shards = dg.DynamicPartitionsDefinition(name=QUESTION_SHARD)


def temperatures(profile: Profile) -> dg.StaticPartitionsDefinition:
    """One partition per sampling temperature of the profile."""
    return dg.StaticPartitionsDefinition(list(profile.teacher_responses.temperatures))


def benchmarks(profile: Profile) -> dg.StaticPartitionsDefinition:
    """One partition per evaluation set of the profile."""
    return dg.StaticPartitionsDefinition(list(profile.evaluation.benchmarks))


def responses(profile: Profile) -> dg.MultiPartitionsDefinition:
    """temperature x question_shard: the grid in which answers are sampled and processed."""
    return dg.MultiPartitionsDefinition(
        {TEMPERATURE: temperatures(profile), QUESTION_SHARD: question_shards}
    )


def still_there(profile: Profile, instance: dg.DagsterInstance) -> Callable[[str | None], bool]:
    """Says of a partition that something was made of whether it is one still.

    A retired shard, and a temperature or an evaluation set that the profile does not name any more,
    have left events behind that nobody can renew.
    """
    keys = {
        *profile.teacher_responses.temperatures,
        *profile.evaluation.benchmarks,
        *instance.get_dynamic_partitions(QUESTION_SHARD),
    }
    return lambda partition: partition is None or keys.issuperset(partition.split("|"))


def same_shard() -> dg.MultiToSingleDimensionPartitionMapping:
    """Between a shard and its row of the temperature x question_shard grid."""
    return dg.MultiToSingleDimensionPartitionMapping(QUESTION_SHARD)


def same_temperature() -> dg.MultiToSingleDimensionPartitionMapping:
    """Between a temperature and its column of the temperature x question_shard grid."""
    return dg.MultiToSingleDimensionPartitionMapping(TEMPERATURE)


def only(temperature: str) -> dg.SpecificPartitionsPartitionMapping:
    """An unpartitioned asset that reads one temperature."""
    return dg.SpecificPartitionsPartitionMapping([temperature])


def response_partition(partition_key: str | dg.MultiPartitionKey) -> dict[str, str]:
    """Dimension -> key of one cell of the grid, in the order of the lake's paths."""
    if not isinstance(partition_key, dg.MultiPartitionKey):
        raise TypeError(f"{partition_key!r} is no temperature|question_shard key")
    keys = partition_key.keys_by_dimension
    return {TEMPERATURE: keys[TEMPERATURE], QUESTION_SHARD: keys[QUESTION_SHARD]}
