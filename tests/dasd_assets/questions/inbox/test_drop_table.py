"""How each drop stands, in one table."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from dasd_assets.questions.inbox.drop_table import Drop, DropState, Read, drops, evaluation
from dasd_assets.questions.inbox.listing import InboxListing
from dasd_assets.questions.inbox.observed_drops import Seen

PRESENT = ("a", "changed", "new", "again", "unread")


def test_every_drop_is_in_the_table_with_how_it_stands_and_its_rows() -> None:
    listing = InboxListing(
        drops={name: Path(f"{name}.jsonl") for name in PRESENT},
        refused={Path("notes.txt"): "no drop", Path("two.jsonl"): "two", Path("two"): "two"},
        ambiguous=frozenset({"two"}),
    )
    seen = {name: Seen(f"content of {name}", "") for name in (*PRESENT[:3], "gone", "two")}
    seen["again"] = Seen("content of a", "")
    found = drops(
        listing, seen, {"a", "changed", "gone", "two", "unread"},
        {"a": Read(10, 2), "changed": Read(5, 0, is_current=False), "gone": Read(7, 0)},
    )  # fmt: skip
    assert found == [
        Drop("a", DropState.PRESENT, 10, 2), Drop("again", DropState.DUPLICATE),
        Drop("changed", DropState.CHANGED, 5, 0), Drop("gone", DropState.GONE, 7, 0),
        Drop("new", DropState.NEW), Drop("two", DropState.REFUSED), Drop("unread", DropState.NEW),
        Drop("notes.txt", DropState.REFUSED), Drop("two", DropState.REFUSED),
        Drop("two.jsonl", DropState.REFUSED),
    ]  # fmt: skip
    told = evaluation(found)
    assert not told["passed"]
    assert told["severity"] == dg.AssetCheckSeverity.WARN
    assert told["metadata"]["not_in_order"] == [
        "again", "gone", "two", "notes.txt", "two", "two.jsonl"
    ]  # fmt: skip
    table = told["metadata"]["drops"].value
    assert "| a | present | 10 | 2 |" in table
    assert evaluation(found[:1])["passed"]
