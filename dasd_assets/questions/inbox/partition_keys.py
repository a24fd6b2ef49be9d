"""Names of question shards: which names of drops can be partition keys."""

from __future__ import annotations

import re

MAX_LENGTH = 100
DROP_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class InvalidPartitionKeyError(ValueError):
    """A file name that cannot name a question shard."""


def question_shard_of(file_name: str) -> str:
    """The question shard that a drop becomes: its name without the suffix of a drop.

    `|` and `...` would be read by Dagster as separators between partition keys.

    Raises:
        InvalidPartitionKeyError: the name is too long or has a character that is not allowed.
    """
    suffix = next((end for end in DROP_SUFFIXES if file_name.endswith(end)), "")
    shard = file_name.removesuffix(suffix)
    if len(shard) > MAX_LENGTH:
        reason = f"the name has {len(shard)} characters"
    elif "..." in shard:
        reason = "the name has '...'"
    elif not _ALLOWED.fullmatch(shard):
        bad = next((c for c in shard if not _ALLOWED.fullmatch(f"a{c}")), shard[:1])
        reason = f"the name has {bad!r} where it may not" if shard else "the name is empty"
    else:
        return shard
    raise InvalidPartitionKeyError(
        f"{file_name!r} cannot be a question shard: {reason}. Allowed are letters, digits, "
        f"'.', '_' and '-', at most {MAX_LENGTH}, the first a letter or digit. Rename the file."
    )
