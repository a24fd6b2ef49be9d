"""Names of drops: which may become partition keys, and what is said about the others."""

from __future__ import annotations

import pytest

from dasd_assets.questions.inbox.partition_keys import (
    MAX_LENGTH,
    InvalidPartitionKeyError,
    question_shard_of,
)


@pytest.mark.parametrize(
    "shard", ["a", "0", "drop-01", "2026.01.31_math", "a..b", "A-", "x.jsonl", "a" * MAX_LENGTH]
)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_the_shard_is_the_name_without_its_suffix(shard: str, suffix: str) -> None:
    assert question_shard_of(f"{shard}{suffix}") == shard


def test_the_shard_of_a_folder_is_its_name() -> None:
    assert question_shard_of("OpenR1-Math-220k") == "OpenR1-Math-220k"


@pytest.mark.parametrize(
    ("shard", "reason"),
    [
        ("a|b", "the name has '|' where it may not"),
        ("a...b", "the name has '...'"),
        ("a b", "the name has ' ' where"),
        ("a\n", r"the name has '\n' where"),
        ("../a", "the name has '/' where"),
        ("größe", "the name has 'ö' where"),
        ("a=b", "the name has '=' where"),
        ("-a", "the name has '-' where"),
        (".a", "the name has '.' where"),
        ("_a", "the name has '_' where"),
        ("", "the name is empty"),
        ("a" * (MAX_LENGTH + 1), "the name has 101 characters"),
    ],
)
def test_a_refusal_names_the_file_the_reason_and_what_to_do(shard: str, reason: str) -> None:
    with pytest.raises(InvalidPartitionKeyError) as error:
        question_shard_of(f"{shard}.jsonl")
    message = str(error.value)
    assert message.startswith(f"{shard + '.jsonl'!r} cannot be a question shard: ")
    assert reason in message
    assert message.endswith("Rename the file.")
