"""Partitions of the asset graph and how they map onto each other.

`temperature` is static (its names are the profile's), `question_shard` is dynamic: every drop of
questions becomes one shard. Adding a shard never touches the partitions of another one.
"""

from __future__ import annotations

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
