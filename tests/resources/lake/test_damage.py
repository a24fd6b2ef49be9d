"""A file of the lake that is gone, cut short or altered is found and named, by whoever looks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.checked_lake import CELL, fill, good_rows, partition_of
from support.small_lake import TEXT, filled

from resources import durable
from resources.lake import lake as lake_module
from resources.lake import lake_files, lake_folder
from resources.lake.examination import Examination, set_aside_damaged
from resources.lake.lake import Lake
from resources.lake.lake_folder import FOLDER_MANIFEST
from resources.lake.manifest import (
    SUFFIX,
    DamagedError,
    Manifest,
    ManifestError,
    parquet_record,
    sha256_of,
)
from resources.lake.manifests import manifest_of, recorded
from resources.lake.tables import TABLES
from resources.lake.warehouse import open_warehouse

TABLE = "filtered_responses"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path))


def answers(n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return filled(
        TABLE,
        *(
            {
                "response_id": f"r{number}",
                "response_text": f"{TEXT} {number}",
                "teacher_logprobs": (-rng.exponential(1.0, 40)).tolist(),
            }
            for number in range(n)
        ),
    )


def flipped(content: bytes, position: int, bit: int = 3) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_every_flipped_bit_is_found_and_the_file_is_named(lake: Lake) -> None:
    lake.write(TABLE, answers(30), CELL)
    file = lake.path(TABLE, CELL)
    content, manifest = file.read_bytes(), Path(f"{file}{SUFFIX}").read_bytes()
    rng = np.random.default_rng(3)
    # All of the footer and of what begins the file, and 150 bits in between.
    positions = [*range(8), *range(len(content) - 64, len(content))]
    for position in [*positions, *map(int, rng.integers(8, len(content), 150))]:
        file.write_bytes(flipped(content, position, int(rng.integers(8))))
        with pytest.raises(DamagedError) as found:
            lake.read(TABLE, CELL)
        assert str(file) in str(found.value), position
        assert str(found.value).startswith("filtered_responses low/s: ")
        Path(f"{file}{SUFFIX}").write_bytes(manifest)  # without the mark
        assert Examination(lake).problem(lake.name(TABLE, CELL), whole=True)
    file.write_bytes(content)
    assert lake.read(TABLE, CELL).equals(answers(30))


def test_what_is_not_damaged_of_a_file_is_still_read(lake: Lake) -> None:
    lake.write(TABLE, answers(30), CELL)
    file = lake.path(TABLE, CELL)
    chunk = pq.read_metadata(file).row_group(0)
    texts = next(
        chunk.column(n) for n in range(chunk.num_columns)
        if chunk.column(n).path_in_schema == "response_text"
    )  # fmt: skip
    file.write_bytes(flipped(file.read_bytes(), texts.data_page_offset + 30))
    with pytest.raises(DamagedError, match="row group 0, column response_text"):
        lake.read(TABLE, CELL, ["response_id", "response_text"])
    ids = lake.read(TABLE, CELL, ["response_id", "teacher_logprobs"])
    assert ids.equals(answers(30).select(ids.column_names))
    kept = list(lake.earlier(TABLE, CELL, ["response_id", "teacher_logprobs"]))
    assert pa.Table.from_batches(kept).equals(ids), "what was answered is not asked for again"
    assert list(lake.earlier(TABLE, CELL, ["response_id", "response_text"])) == []


DAMAGES: dict[str, Callable[[Path], object]] = {
    "is gone": Path.unlink,
    "bytes where": lambda file: os.truncate(file, file.stat().st_size - 7),
    "not what was written": lambda file: file.write_bytes(
        flipped(file.read_bytes(), file.stat().st_size // 3)
    ),
    "cannot be read": lambda file: Path(f"{file}{SUFFIX}").write_bytes(b"{"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_every_table_a_glance_names_the_file_and_writing_it_again_mends_it(
    lake: Lake, damage: str
) -> None:
    fill(lake, good_rows())
    assert set(good_rows()) == set(TABLES)
    for table in TABLES:
        partition, name = partition_of(table), lake.name(table, partition_of(table))
        assert Examination(lake).problem(name) is None
        assert Examination(lake).problem(name, whole=True) is None
        rows = lake.read(table, partition)
        DAMAGES[damage](lake.path(table, partition))
        assert damage in str(Examination(lake).problem(name)), table
        asset = TABLES[table].written_with or table
        with pytest.raises(DamagedError, match=f"^{asset} .*data.parquet .*`dasd run`"):
            lake.read(table, partition)
        lake.write(table, rows, partition)
        assert Examination(lake).problem(name, whole=True) is None
        assert lake.read(table, partition).equals(rows)


def test_what_a_disk_changed_by_itself_is_marked_by_who_finds_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time of change tells of it: a glance does not see it until somebody has read it."""
    monkeypatch.setattr(Lake, "is_touched", lambda *_: False)
    name = lake.name(TABLE, CELL)
    for find in (
        lambda: lake.read(TABLE, CELL),
        lambda: lake.verified_path(TABLE, CELL),
        lambda: Examination(lake).mark(name, str(Examination(lake).problem(name, whole=True))),
    ):
        lake.write(TABLE, answers(3), CELL)
        file = lake.path(TABLE, CELL)
        file.write_bytes(flipped(file.read_bytes(), file.stat().st_size // 2))
        assert Examination(lake).problem(name) is None
        with contextlib.suppress(DamagedError):
            find()
        assert "not what was written" in str(Examination(lake).problem(name))
    lake.write(TABLE, answers(3), CELL)
    assert Examination(lake).problem(name) is None


def test_a_file_that_was_touched_but_is_the_same_is_compared_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = lake.name(TABLE, CELL)
    lake.write(TABLE, answers(3), CELL)
    file = lake.path(TABLE, CELL)
    file.write_bytes(file.read_bytes())
    assert Examination(lake).problem(name) is None
    compared: list[str] = []
    monkeypatch.setattr(Lake, "sha256", lambda self, name: compared.append(name))
    monkeypatch.setattr(Lake, "is_touched", lambda self, one, other: one.changed > other.changed)
    assert Examination(lake).problem(name) is None
    assert not compared


def test_a_kill_at_any_moment_of_a_write_leaves_a_file_that_its_manifest_knows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """Stands for SIGKILL."""

    def written(seed: int, kill_at: int) -> None:
        calls = iter(range(100))

        def publish(temporary: Path, target: Path, real: Callable[..., None]) -> None:
            if next(calls) == kill_at:
                raise KilledError
            real(temporary, target)

        with monkeypatch.context() as patched:
            for module in (lake_module, durable):
                patched.setattr(
                    module,
                    "publish",
                    lambda one, two, real=durable.publish: publish(one, two, real),
                )
            with contextlib.suppress(KilledError):
                lake.write(TABLE, answers(5, seed), CELL)

    name = lake.name(TABLE, CELL)
    for kill_at in range(3):  # the manifest, the file, the manifest
        written(1, kill_at)
        if kill_at < 2:
            assert not lake.exists(TABLE, CELL)
            with pytest.raises(ValueError, match=r"not in the lake .* Materialize"):
                lake.read(TABLE, CELL)
    for kill_at in range(3):
        for seed in (2, 3):  # killed twice running
            written(seed, kill_at)
            assert Examination(lake).problem(name, whole=True) is None
            expected = [answers(5, one) for one in (1, 2, 3)]
            assert any(lake.read(TABLE, CELL).equals(one) for one in expected)
    written(4, 99)
    manifest = manifest_of(lake, name)
    assert manifest is not None and manifest.replaces == ()


def test_a_lake_of_before_is_read_and_verified_by_reading_it(lake: Lake) -> None:
    file = Path(lake.root, lake.name(TABLE, CELL))
    file.parent.mkdir(parents=True)
    pq.write_table(answers(30), file)
    name = lake.name(TABLE, CELL)
    look = Examination(lake)
    assert look.problem(name) is None and look.problem(name, whole=True) is None
    assert not look.is_recorded(name)
    assert lake.read(TABLE, CELL).equals(answers(30))
    os.truncate(file, file.stat().st_size - 1)
    assert "footer" in str(Examination(lake).problem(name, whole=True))
    with pytest.raises(DamagedError, match="footer"):
        lake.read(TABLE, CELL)
    assert "footer" in str(Examination(lake).problem(name)), "marked by the reader"
    lake.write(TABLE, answers(30), CELL)
    assert Examination(lake).problem(name, whole=True) is None


def test_a_view_does_not_give_a_page_that_was_altered(lake: Lake) -> None:
    lake.write(TABLE, answers(300), CELL)
    file = lake.path(TABLE, CELL)
    query = f"select sum(list_sum(teacher_logprobs)) from {TABLE}"
    assert open_warehouse(Path(lake.root)).sql(query).fetchall()
    chunks = pq.read_metadata(file).row_group(0)
    logprobs = next(
        chunks.column(n) for n in range(chunks.num_columns)
        if chunks.column(n).path_in_schema.startswith("teacher_logprobs.")
    )  # fmt: skip
    middle = logprobs.data_page_offset + logprobs.total_compressed_size // 2
    file.write_bytes(flipped(file.read_bytes(), middle))
    with pytest.raises(Exception, match=r"(?i)crc|checksum"):
        open_warehouse(Path(lake.root)).sql(query).fetchall()


def test_reports_are_files_with_manifests_too(lake: Lake) -> None:
    for name in ("stage_report.html", "provenance_viewer/low.html"):
        assert Examination(lake).problem(name) == "is gone"
        page = lake.publish_page(name, b"<p>all is well</p>")
        assert Examination(lake).problem(name, whole=True) is None
        page.write_bytes(b"<p>all is hell</p>")
        assert "not what was written" in str(Examination(lake).problem(name))
        page.unlink()
        assert Examination(lake).problem(name) == "is gone"


def test_a_checkpoint_whose_file_is_gone_or_altered_is_not_used_and_makes_place(
    lake: Lake,
) -> None:
    def train() -> Path:
        folder = lake.checkpoint_folder("dasd", "abc")
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_text(name, encoding="utf-8")
        lake.publish_checkpoint("dasd", "abc")
        return folder

    assert Examination(lake).problem("checkpoints/dasd") == "is gone"
    for damage, said in (
        (lambda file: file.unlink(), "lacks model.safetensors"),
        (lambda file: file.write_text("Model.safetensors"), "has in model.safetensors bytes"),
    ):
        folder = train()
        assert lake.current_checkpoint("dasd") == folder
        assert Examination(lake).problem("checkpoints/dasd", whole=True) is None
        damage(folder / "model.safetensors")
        assert said in str(Examination(lake).problem("checkpoints/dasd"))
        lake.publish_checkpoint("dasd", "abc")  # a second run must not take it for whole
        assert said in str(Examination(lake).problem("checkpoints/dasd"))
        with pytest.raises(DamagedError, match=r"abc/model\.safetensors is (gone|altered)"):
            lake.current_checkpoint("dasd")
        assert set_aside_damaged(lake, "checkpoints/dasd/abc")
        assert not lake.checkpoint_folder("dasd", "abc").exists()
    assert lake.current_checkpoint("dasd") if train() else None
    (folder / FOLDER_MANIFEST).write_text("[", encoding="utf-8")
    assert "cannot be read" in str(Examination(lake).problem("checkpoints/dasd"))
    Path(lake.root, "checkpoints/dasd/current.json").write_text("{", encoding="utf-8")
    assert "current.json" in str(Examination(lake).problem("checkpoints/dasd"))


def test_a_large_folder_is_looked_at_and_a_single_file_of_it_compared(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, compared = "training_sets/low_temperature", list[str]()

    def noted(file: Path) -> str:
        compared.append(file.name)
        return sha256_of(file)

    folder = lake.keyed_folder(name, "abc")
    folder.mkdir()
    for file in ("certificate.json", "tokens.npy"):
        (folder / file).write_text(file, encoding="utf-8")
    lake.publish_keyed(name, "abc")
    for module in (lake_files, lake_folder):
        monkeypatch.setattr(module, "sha256_of", noted)
    assert lake.current_folder(name, whole=False) == folder
    assert lake.file_of_current(name, "certificate.json").parent == folder
    assert compared == ["certificate.json"]
    (folder / "tokens.npy").write_text("tokens", encoding="utf-8")
    with pytest.raises(DamagedError, match=r"abc has in tokens\.npy bytes that are not what"):
        lake.current_folder(name, whole=False)


def test_a_manifest_knows_when_it_is_damaged_itself(lake: Lake) -> None:
    written = lake.write(TABLE, answers(2), CELL)
    record = parquet_record(written.path)
    assert record.n_rows == 2 and len(record.chunks[0]) == len(
        pq.read_metadata(written.path).schema
    )
    stored = Manifest(record, (None, record), "is odd").to_json()
    assert Manifest.from_json(stored) == Manifest(record, (None, record), "is odd")
    for position in range(len(stored)):
        try:
            found = Manifest.from_json(flipped(stored, position, 0))
        except ManifestError:
            continue
        assert found == Manifest.from_json(stored)  # a space, or the like
    with recorded(lake, lake.name(TABLE, CELL), record):
        during = manifest_of(lake, lake.name(TABLE, CELL))
        assert during is not None and during.versions == [record, record]
