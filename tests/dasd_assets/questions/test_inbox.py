"""The inbox: drops by shard, refused names, and drops that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dasd_assets.questions.inbox import InboxError, drop_of_shard, list_inbox


def test_drops_are_sorted_and_bad_names_refused_with_the_reason(tmp_path: Path) -> None:
    for name in ["b.jsonl", "a.jsonl", "a|b.jsonl", ".hidden.jsonl", "notes.txt", "c.jsonl.part"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.jsonl").mkdir()
    listing = list_inbox(tmp_path)
    assert list(listing.drops.items()) == [
        ("a", tmp_path / "a.jsonl"),
        ("b", tmp_path / "b.jsonl"),
    ]
    assert list(listing.refused) == [tmp_path / "a|b.jsonl"]
    assert "'|'" in listing.refused[tmp_path / "a|b.jsonl"]


def test_an_empty_inbox_has_no_drops(tmp_path: Path) -> None:
    assert list_inbox(tmp_path).drops == {}


def test_a_missing_inbox_is_named(tmp_path: Path) -> None:
    with pytest.raises(InboxError, match=r"nowhere: no such folder\. Put question drops"):
        list_inbox(tmp_path / "nowhere")


def test_the_drop_of_a_listed_shard_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.jsonl").touch()
    ((shard, drop),) = list_inbox(tmp_path).drops.items()
    assert drop_of_shard(tmp_path, shard) == drop


def test_a_drop_that_is_gone_is_named_with_its_shard(tmp_path: Path) -> None:
    with pytest.raises(InboxError, match=r"a\.jsonl: the drop of question_shard 'a' is gone"):
        drop_of_shard(tmp_path, "a")
