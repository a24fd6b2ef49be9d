"""Which question shards a sample can be drawn from, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.lake.table import ContractError

if TYPE_CHECKING:
    from resources.lake.lake import Lake

DRAWN_FROM = ("filtered_responses", "response_provenance")
WAY = ("raw_questions", "questions", "teacher_responses", *DRAWN_FROM)
"""Tables of a shard in the order in which they are made."""
OF_A_SHARD = {"raw_questions", "questions"}


@dataclass(frozen=True)
class Shards:
    """Shards of one temperature.

    Attributes:
        ready: their partitions of the grid, in the order of the lake.
        not_ready: question_shard -> what is wrong with what is there of it.
    """

    ready: list[dict[str, str]]
    not_ready: dict[str, str]


def shards_of(lake: Lake, temperature: str, exclude: Iterable[str] = ()) -> Shards:
    """Shards whose filtered answers have just the provenance that belongs to them.

    A shard that has one without the other, or other answers in one than in the other, is not ready:
    it is being made anew, or this failed.

    Args:
        exclude: question_shards that are looked at as if they were not there.

    Raises:
        ContractError: a file is damaged; `dasd run` makes it again.
    """
    found = Shards([], {})
    cells = [
        cell for table in DRAWN_FROM for cell in lake.partitions(table, temperature=temperature)
    ]
    for cell in {tuple(cell.values()): cell for cell in cells}.values():
        shard = cell["question_shard"]
        if shard in set(exclude):
            continue
        if problem := _problem(lake, cell):
            found.not_ready[shard] = problem
        else:
            found.ready.append(cell)
    return found


def shards_to_draw_from(
    lake: Lake, temperature: str, exclude: Iterable[str] = (), require_all: bool = False
) -> Shards:
    """As `shards_of`, at least one of them.

    Args:
        require_all: every shard that anything is there of has to be ready.

    Raises:
        ContractError: there is none, or not all are ready and all have to be, or a file is damaged.
    """
    found = shards_of(lake, temperature, exclude)
    problems = "; ".join(f"{temperature}/{name} {why}" for name, why in found.not_ready.items())
    if found.not_ready and (require_all or not found.ready):
        raise ContractError(
            f"divergence_sample {temperature}: {problems}. Materialize what is missing or stale of "
            "them (`dasd run`), or name them in divergence_sampling.exclude_shards."
        )
    if not found.ready:
        raise ContractError(
            f"divergence_sample {temperature}: there are no filtered responses to choose from"
        )
    return found


def how_far(lake: Lake, temperature: str, shard: str) -> str | None:
    """The first table on its way that a shard has nothing in; None if it is in all of them."""
    keys = {"question_shard": shard}
    cell = {"temperature": temperature, **keys}
    for table in WAY:
        if not lake.exists(table, keys if table in OF_A_SHARD else cell):
            return table
    return None


def _problem(lake: Lake, cell: dict[str, str]) -> str | None:
    for table, other in (DRAWN_FROM, DRAWN_FROM[::-1]):
        if not lake.exists(table, cell):
            return f"is in {other}, but not in {table}"
    answers, scored = (
        set(lake.read(table, cell, ["response_id"])["response_id"].to_pylist())
        for table in DRAWN_FROM
    )
    if answers == scored:
        return None
    return (
        f"has {len(answers - scored)} response(s) without provenance and provenance of "
        f"{len(scored - answers)} that are no more"
    )
