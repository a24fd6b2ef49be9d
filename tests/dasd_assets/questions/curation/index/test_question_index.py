"""Curation through the index: as the plain way, whatever of it is damaged or cut off."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.questions.curation import buckets, near_rejection
from dasd_assets.questions.curation.index import sorted_runs, tiers
from dasd_assets.questions.curation.index.catalog import CATALOG, FOLDER, Catalog
from dasd_assets.questions.curation.index.question_index import QuestionIndex
from dasd_assets.questions.curation.near_duplicates import Banding, comparables, jaccard
from dasd_assets.questions.curation.normalisation import question_id
from resources.lake.lake import Lake
from resources.lake.tables.questions import RAW_QUESTIONS
from tests.support.curation import Result, curate, settings_of

pytestmark = pytest.mark.slow

NEAR = settings_of(near_duplicate_jaccard=0.6, near_duplicate_shingle_words=2)
BANDING = Banding(NEAR)
WORDS = [f"word{chr(97 + i)}" for i in range(20)]


@pytest.fixture(autouse=True)
def small_files() -> Iterator[None]:
    """A handful of questions has several segments, runs and tiers."""
    with (
        mock.patch.object(sorted_runs, "SEGMENT_ENTRIES", 16),
        mock.patch.object(tiers, "SORTED_AT_ONCE", 64),
        mock.patch.object(tiers, "FIRST_TIER_ENTRIES", 64),
        mock.patch.object(tiers, "MERGED_AT_ONCE", 2),
    ):
        yield


def raw(*questions: str) -> pa.Table:
    rows = [
        {"drop": "d.jsonl", "line": line, "question": text, "domain": "math", "answer": "1"}
        for line, text in enumerate(questions, 1)
    ]
    return pa.Table.from_pylist(rows, schema=RAW_QUESTIONS)


def sentence(*without: int) -> str:
    return " ".join(word for i, word in enumerate(WORDS) if i not in without)


def in_shards(lake: Lake, drops: list[list[str]]) -> dict[str, Result]:
    """Curate drops one after the other, with one index."""
    now: dict[str, Result] = {}
    for number, texts in enumerate(drops):
        now[f"s{number}"] = curate(raw(*texts), NEAR, others=dict(now), lake=lake)
    return now


def lines(results: dict[str, Result]) -> list[list[int]]:
    return [result.questions["line"].to_pylist() for result in results.values()]


def plainly(drops: list[list[str]], compared: int) -> list[list[int]]:
    """Lines that stay: each question is held against each one before it that stays."""
    kept = list[tuple[str, pa.Array, set[int]]]()
    stays = []
    for texts in drops:
        in_drop = list[tuple[int, tuple[str, pa.Array, set[int]]]]()
        ids = {identity for identity, _, _ in kept}
        for line, text in enumerate(texts, 1):
            identity = question_id("math", text)
            if identity in ids:
                continue
            ids.add(identity)
            (comparable,) = comparables([text], ["math"], 2)
            keys = set(BANDING.keys([comparable])[0].tolist())
            met = Counter[int]()
            for _, shingles, others in [*kept, *(one for _, one in in_drop)]:
                shared = {key for key in keys & others if met[key] < compared}
                met.update(keys & others)
                if shared and jaccard(comparable.shingles, [shingles])[0] >= 0.6:
                    break
            else:
                in_drop.append((line, (identity, comparable.shingles, keys)))
        stays.append([line for line, _ in in_drop])
        kept += [one for _, one in in_drop]
    return stays


TEXT = st.lists(st.integers(0, 19), max_size=9, unique=True).map(lambda gaps: sentence(*gaps))
DROPS = st.lists(st.lists(TEXT, min_size=1, max_size=8), min_size=2, max_size=7)


@settings(max_examples=8, deadline=None)
@given(drops=DROPS, compared=st.sampled_from([1, 2, 50]))
def test_what_stays_is_what_stays_when_all_are_held_against_all(
    tmp_path_factory: pytest.TempPathFactory, drops: list[list[str]], compared: int
) -> None:
    lake = Lake(root=str(tmp_path_factory.mktemp("lake")))
    with (
        mock.patch.object(buckets, "MAX_COMPARED", compared),
        mock.patch.object(near_rejection, "MAX_COMPARED", compared),
    ):
        assert lines(in_shards(lake, drops)) == plainly(drops, compared)


DROPPED = [[sentence(i), f"only {WORDS[i]} here", f"{sentence(19 - i)} and more"] for i in range(4)]
LAST = [sentence(9), sentence(2), *(f"{WORDS[i]} only here" for i in range(6)), "all new"]


def index_files(lake: Lake) -> list[Path]:
    return sorted(Path(lake.root, FOLDER).iterdir(), key=lambda file: (file.suffix, file.name))


def test_signatures_that_a_kill_left_of_other_questions_are_made_anew(tmp_path: Path) -> None:
    """A drop was delivered again, and its curation killed between its tables."""
    was = curate(raw(*DROPPED[0]), NEAR)
    torn = replace(was, signatures=curate(raw("another", *DROPPED[0]), NEAR).signatures)
    lake = Lake(root=str(tmp_path))
    found, wanted = (
        curate(raw(*LAST, DROPPED[0][2]), NEAR, others={"s0": other}, lake=lake)
        for other in (torn, was)
    )
    assert found == wanted
    assert "near_duplicate_of_shard" in found.rejected["reason"].to_pylist()


def test_runs_are_merged_and_what_is_replaced_is_deleted(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    in_shards(lake, DROPPED)
    catalog = Catalog.from_json(lake.content(CATALOG) or b"")
    assert len(catalog.runs) <= 4, catalog.runs
    assert {f"{FOLDER}/{file.name}" for file in index_files(lake)} == catalog.files()


def alter(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, alter])
def test_a_file_that_is_gone_or_damaged_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    lake = Lake(root=str(tmp_path))
    others = in_shards(lake, DROPPED)
    before = curate(raw(*LAST), NEAR, others=others, lake=lake)
    n_files = len(index_files(lake))
    for number in range(n_files):
        files = index_files(lake)
        damage(files[number % len(files)])
        assert curate(raw(*LAST), NEAR, others=others, lake=lake) == before
    for file in index_files(lake):
        damage(file)
    assert curate(raw(*LAST), NEAR, others=others, lake=lake) == before


class KilledError(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("publication", ["keep_file", "put", "keep_only"])
def test_after_a_kill_the_index_is_as_it_was(tmp_path: Path, publication: str) -> None:
    """Wherever it comes: before a file, a catalogue, or the deletion of what was replaced."""
    lake = Lake(root=str(tmp_path))
    in_shards(lake, DROPPED[:2])
    later = in_shards(Lake(root=str(tmp_path / "other")), DROPPED)
    expected = curate(raw(*LAST), NEAR, others=later)
    real = getattr(Lake, publication)
    for n_before in range(40):
        left = iter(range(n_before))

        def killed(self: Lake, *arguments: object, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KilledError
            real(self, *arguments)

        try:
            with mock.patch.object(Lake, publication, killed):
                curate(raw(*LAST), NEAR, others=later, lake=lake)
            break
        except KilledError:
            Catalog.from_json(lake.content(CATALOG) or b"")
    assert curate(raw(*LAST), NEAR, others=later, lake=lake) == expected
    curate(raw("next"), NEAR, others={**later, "last": expected}, lake=lake)
    catalog = Catalog.from_json(lake.content(CATALOG) or b"")
    assert {f"{FOLDER}/{file.name}" for file in index_files(lake)} == catalog.files()


def test_a_fresh_lake_has_nothing_to_complain_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lake = Lake(root=str(tmp_path))
    in_shards(lake, DROPPED[:2])
    assert not caplog.records
    Path(lake.root, CATALOG).write_bytes(b"")
    QuestionIndex(lake, NEAR)
    assert "the index is made anew" in caplog.text


def test_what_is_asked_of_a_shard_does_not_look_at_all_of_them(tmp_path: Path) -> None:
    """Else a drop that has something of each of many shards looks at each of them for each."""
    lake = Lake(root=str(tmp_path))
    with (
        mock.patch.object(Catalog, "files", autospec=True, side_effect=Catalog.files) as files,
        mock.patch.object(
            QuestionIndex, "_bring_up_to_date", autospec=True,
            side_effect=QuestionIndex._bring_up_to_date,
        ) as brought,
    ):  # fmt: skip
        in_shards(lake, DROPPED)
        assert brought.call_count == len(DROPPED), "once for each shard that is curated"
        assert files.call_count == len(DROPPED) - 1, "when the files of the last are put in"


def test_a_shard_that_was_curated_again_counts_as_it_is_now(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    first = in_shards(lake, [[sentence()], ["something else"]])
    assert not curate(raw(sentence(3)), NEAR, others=first, lake=lake).questions.num_rows
    changed = {**first, "s0": curate(raw("now this"), NEAR, order=1)}
    assert curate(raw(sentence(3)), NEAR, others=changed, lake=lake).questions.num_rows == 1
    assert not curate(raw("NOW this"), NEAR, others=changed, lake=lake).questions.num_rows
    del changed["s0"]
    assert curate(raw("now this"), NEAR, others=changed, lake=lake).questions.num_rows == 1


def test_a_disk_that_damages_what_is_written_is_said(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    others = in_shards(Lake(root=str(tmp_path / "other")), DROPPED[:2])
    real = Lake.keep_file

    def altered(self: Lake, temporary: Path, name: str) -> None:
        alter(temporary)
        real(self, temporary, name)

    broken = mock.patch.object(Lake, "keep_file", altered)
    with broken, pytest.raises(OSError, match="the disk or the store alters"):
        curate(raw(*LAST), NEAR, others=others, lake=lake)
