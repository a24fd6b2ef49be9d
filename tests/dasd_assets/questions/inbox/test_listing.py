"""The inbox: drops by shard, refused names, and drops that are gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dasd_assets.questions.inbox.listing import InboxError, drop_of_shard, list_inbox


def test_drops_are_sorted_and_bad_names_refused_with_the_reason(tmp_path: Path) -> None:
    names = ["b.jsonl", "a.parquet", "d.jsonl.zst", "a|b.jsonl", ".hidden.jsonl", "notes.txt"]
    for name in [*names, "c.jsonl.part", "e.arrow"]:
        (tmp_path / name).touch()
    for name in ["c", ".copying", "bad name"]:
        (tmp_path / name).mkdir()
    listing = list_inbox(tmp_path)
    assert list(listing.drops.items()) == [
        ("a", tmp_path / "a.parquet"),
        ("b", tmp_path / "b.jsonl"),
        ("c", tmp_path / "c"),
        ("d", tmp_path / "d.jsonl.zst"),
    ]
    assert [path.name for path in listing.refused] == [
        "a|b.jsonl", "bad name", "c.jsonl.part", "e.arrow", "notes.txt",
    ]  # fmt: skip
    assert "'|'" in listing.refused[tmp_path / "a|b.jsonl"]


def test_two_drops_for_one_shard_are_both_refused_and_both_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "b.jsonl").touch()
    listing = list_inbox(tmp_path)
    assert list(listing.drops) == ["b"]
    assert set(listing.refused.values()) == {
        "a and a.jsonl would all be question_shard 'a'. Rename or remove all but one."
    }
    with pytest.raises(InboxError, match=r"a and a\.jsonl would all be question_shard 'a'"):
        drop_of_shard(tmp_path, "a")


def test_what_is_no_drop_is_named_as_passed_over(tmp_path: Path) -> None:
    names = ["B.JSONL", "a.json", "c.jsonl.bz2", "g.csv", "pipe.jsonl"]
    for name in names[:-1]:
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / names[-1])
    listing = list_inbox(tmp_path)
    assert not listing.drops
    assert [path.name for path in listing.refused] == names
    for path, reason in listing.refused.items():
        assert reason.startswith(f"{path.name} is passed over: ")


def test_a_link_out_of_the_inbox_is_not_followed(tmp_path: Path) -> None:
    inbox, outside = tmp_path / "inbox", tmp_path / "passwd"
    inbox.mkdir()
    outside.touch()
    (inbox / "a.jsonl").symlink_to(outside)
    (inbox / "b.jsonl").touch()
    (inbox / "c.jsonl").symlink_to("b.jsonl")
    listing = list_inbox(inbox)
    assert list(listing.drops) == ["b", "c"]
    assert "outside of the inbox" in listing.refused[inbox / "a.jsonl"]
    with pytest.raises(InboxError, match=r"a\.jsonl: is a symbolic link to .*passwd"):
        drop_of_shard(inbox, "a")


def test_an_empty_inbox_has_no_drops(tmp_path: Path) -> None:
    assert list_inbox(tmp_path).drops == {}


def test_a_missing_inbox_is_named(tmp_path: Path) -> None:
    with pytest.raises(InboxError, match=r"nowhere: no such folder\. Put question drops"):
        list_inbox(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["x.jsonl.jsonl", "x.parquet", "x.jsonl.gz", "x.y"])
def test_the_drop_of_a_listed_shard_is_found_again(tmp_path: Path, name: str) -> None:
    if name == "x.y":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    ((shard, drop),) = list_inbox(tmp_path).drops.items()
    assert drop_of_shard(tmp_path, shard) == drop == tmp_path / name


def test_a_drop_that_is_gone_is_named_with_its_shard(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InboxError, match="the drop of question_shard 'a' is gone"):
        drop_of_shard(tmp_path, "a")
