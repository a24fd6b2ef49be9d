"""Which teachers answer a question, where a profile has several."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dasd_assets.profile.teachers import QuestionShare


def teachers_of(question_id: str, shares: Mapping[str, QuestionShare], seed: int) -> list[str]:
    """The teachers that answer a question, in the order of `shares`.

    A seeded hash of the question is its place between 0 and 1; the teachers with a share have one
    piece of that line each, in their order. So a question has all of those that answer `all` and
    at most one of the others, and who else answers `all` is of no matter to these.

    Args:
        shares: teacher -> `all`, or its share of the questions; the shares add up to 1 at most.
    """
    digest = hashlib.sha256(f"teachers\x1f{seed}\x1f{question_id}".encode()).digest()
    place = Decimal(int.from_bytes(digest[:8], "big")) / 2**64
    start, found = Decimal(0), []
    for name, share in shares.items():
        if share == "all":
            found.append(name)
            continue
        end = start + Decimal(str(share))
        if start <= place < end:
            found.append(name)
        start = end
    return found
