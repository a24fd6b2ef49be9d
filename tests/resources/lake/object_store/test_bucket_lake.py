"""The lake in a bucket, over HTTP: whole partitions or none, whatever happens to the requests."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.curation import curate, settings_of
from support.object_store import SECRET, Fault, ObjectStore, Rule
from support.small_lake import filled, make_small_lake

from checks.checked_partition import CheckedPartition
from checks.drift import Summary, drift
from dasd_assets.questions.curation.index.catalog import CATALOG
from resources.lake import bucket as bucket_module
from resources.lake.bucket import Bucket
from resources.lake.bucket_errors import AlteredObjectError, ObjectStoreError
from resources.lake.bucket_lake import BucketLake
from resources.lake.lake import Lake
from resources.lake.manifest import DamagedError
from resources.lake.table import ContractError
from resources.lake.tables.questions import RAW_QUESTIONS
from resources.lake.warehouse import open_warehouse

pytestmark = pytest.mark.slow

Machine = Callable[..., BucketLake]
SHARD = {"question_shard": "drop-01"}
KEY = "some/prefix/questions/question_shard=drop-01/data.parquet"


def rows(n: int, text: str = "What?") -> pa.Table:
    return filled("questions", *({"question_id": f"q-{i}", "question": text} for i in range(n)))


def test_another_machine_reads_what_one_wrote(machine: Machine, tmp_path: Path) -> None:
    one, two = machine("one"), machine("two")
    written = one.write("questions", rows(3_000), SHARD)
    assert written.n_rows == 3_000 and written.n_bytes == written.path.stat().st_size
    assert two.exists("questions", SHARD)
    assert two.read("questions", SHARD).equals(rows(3_000))
    assert two.partitions("questions") == [SHARD]
    local = Lake(root=str(tmp_path / "local")).write("questions", rows(3_000), SHARD)
    assert local.data_version == written.data_version
    assert two.version("questions", SHARD) == written.data_version


def test_a_copy_is_never_stale_and_is_made_once(machine: Machine, store: ObjectStore) -> None:
    one, two = machine("one"), machine("two")
    one.write("questions", rows(1), SHARD)
    assert two.read("questions", SHARD).num_rows == 1
    one.write("questions", rows(2), SHARD)
    for old in Path(two.root).rglob("*.parquet"):
        os.utime(old, (0, 0))  # long ago: no step can be about to open it
    assert two.read("questions", SHARD).num_rows == 2
    with store.failing(lambda *_: None) as asked:
        assert two.read("questions", SHARD).num_rows == 2
    assert [method for method, _ in asked] == ["GET", "HEAD"], "the manifest, and what is there"
    assert len(list(Path(two.root).rglob("*.parquet"))) == 1


def test_partitions_are_listed_beyond_a_page_and_without_surprises(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    lake, client = machine(), store.client()
    names = [f"drop-{i:04}" for i in range(1_003)]
    for name in names:
        key = KEY.replace("drop-01", name)
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    for other in ("some/prefix/questions/", "some/prefix/questions_2/x=1/data.parquet",
                  "questions/question_shard=outside/data.parquet",
                  "some/prefix/questions/question_shard=a/notes.txt"):  # fmt: skip
        client.put_object(Bucket=bucket, Key=other, Body=b"")
    assert [keys["question_shard"] for keys in lake.partitions("questions")] == names
    assert lake.partitions("questions", question_shard="drop-0007") == [
        {"question_shard": "drop-0007"}
    ]


def test_what_is_missing_is_said_as_in_a_folder(machine: Machine) -> None:
    lake = machine()
    assert not lake.exists("questions", SHARD)
    assert lake.partitions("questions") == []
    with pytest.raises(ContractError, match=r"questions drop-01: not in .*\(s3://.*Materialize"):
        lake.read("questions", SHARD)
    with pytest.raises(ContractError, match="checkpoints/low_temperature: not made yet"):
        lake.current_checkpoint("low_temperature")


FAULTS = {
    "503s": lambda method, path, before: Fault(503, "SlowDown") if before < 2 else None,
    "internal errors": lambda method, path, before: (
        Fault(500, "InternalError") if before < 2 else None
    ),
    "slow": lambda method, path, before: Fault(delay_seconds=0.3),
    "cut in the middle of the upload": lambda method, path, before: (
        Fault(cut_body_after=1_000_000) if method == "PUT" and before < 2 else None
    ),
    "answer lost": lambda method, path, before: (
        Fault(lose_answer=True) if method in ("PUT", "POST") and before < 1 else None
    ),
    "joined unheard": lambda method, path, before: (
        None if method != "POST" or "uploadId" not in path
        else Fault(404, "NoSuchUpload") if before else Fault(lose_answer=True)
    ),
    "cut in the middle of the download": lambda method, path, before: (
        Fault(cut_answer=True) if method == "GET" and "parquet" in path and before < 2 else None
    ),
}  # fmt: skip


@pytest.mark.parametrize("parts", [False, True], ids=["one request", "in parts"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_retry_completes_and_no_torn_partition_is_ever_visible(
    fault: str, parts: bool, machine: Machine, store: ObjectStore, bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("resources.lake.bucket.PART_BYTES", 5 * 1024**2 if parts else 64 * 1024**2)
    big = _incompressible(7)
    machine("first").write("questions", rows(1), SHARD)
    old = store.client().get_object(Bucket=bucket, Key=KEY)["Body"].read()
    seen = set()

    def watched(method: str, path: str, before: int) -> Fault | None:
        # What anybody would read at the moment of each request.
        seen.add(store.client().get_object(Bucket=bucket, Key=KEY)["Body"].read())
        return FAULTS[fault](method, path, before)

    with store.failing(watched) as asked:
        machine("one").write("questions", big, SHARD)
        assert machine("two").read("questions", SHARD).equals(big)
    new = store.client().get_object(Bucket=bucket, Key=KEY)["Body"].read()
    assert seen == {old, new}
    assert any("uploadId" in path for _, path in asked) == parts


def _incompressible(mib: int) -> pa.Table:
    import random

    alphabet = [chr(code) for code in range(0x4E00, 0x8E00)]
    chosen = random.Random(7)
    text = "".join(chosen.choices(alphabet, k=1024**2 * mib // 2 // 8))
    return filled("questions", *(
        {"question_id": f"q-{i}", "question": text[i:] + text[:i]} for i in range(8)
    ))  # fmt: skip


@pytest.mark.parametrize("status, code, message", [
    (503, "SlowDown", "overloaded"),
    (400, "ExpiredToken", "credentials have expired; new ones come from the environment"),
    (403, "InvalidAccessKeyId", "does not know these credentials"),
    (403, "AccessDenied", "may not do this.*dasd docs object-store"),
    (403, "RequestTimeTooSkewed", "this machine's clock is wrong"),
])  # fmt: skip
def test_what_stays_wrong_is_explained_and_leaves_the_old_partition(
    status: int, code: str, message: str, machine: Machine, store: ObjectStore,
) -> None:  # fmt: skip
    lake = machine()
    lake.write("questions", rows(1), SHARD)

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(status, code) if method in ("PUT", "POST") else None

    with store.failing(rule):
        with pytest.raises(ObjectStoreError, match=message) as refused:
            lake.write("questions", rows(2), SHARD)
        assert machine("reader").read("questions", SHARD).num_rows == 1
    assert "question_shard=drop-01" in str(refused.value) and SECRET not in str(refused.value)
    assert not list(Path(lake.root).rglob("*.tmp"))
    assert machine("two").read("questions", SHARD).num_rows == 1
    lake.write("questions", rows(2), SHARD)  # the retry
    assert machine("two").read("questions", SHARD).num_rows == 2


def test_credentials_that_expire_between_the_parts_leave_nothing_visible(
    machine: Machine, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.lake.bucket.PART_BYTES", 5 * 1024**2)
    lake, big = machine(), _incompressible(12)

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(400, "ExpiredToken") if "partNumber=2" in path else None

    with store.failing(rule), pytest.raises(ObjectStoreError, match="expired"):
        lake.write("questions", big, SHARD)
    assert KEY not in store.keys(bucket)
    assert store.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    lake.write("questions", big, SHARD)
    assert machine("two").read("questions", SHARD).equals(big)


def test_a_machine_killed_in_the_middle_of_an_upload_leaves_the_old_partition(
    machine: Machine, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.lake.bucket.PART_BYTES", 5 * 1024**2)
    lake, big = machine(), _incompressible(12)
    lake.write("questions", rows(1), SHARD)
    begun = threading.Event()

    def rule(method: str, path: str, before: int) -> Fault | None:
        if "partNumber=2" in path:
            begun.set()
            return Fault(delay_seconds=60.0)
        return None

    with store.failing(rule):
        child = multiprocessing.get_context("spawn").Process(
            target=_upload, args=(lake.root, lake.uri, big)
        )
        child.start()
        assert begun.wait(60)
        child.kill()
        child.join()
    assert store.client().list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert machine("two").read("questions", SHARD).num_rows == 1
    assert machine("two").partitions("questions") == [SHARD]
    machine("three").write("questions", big, SHARD)
    assert machine("two").read("questions", SHARD).equals(big)


def _upload(root: str, uri: str, table: pa.Table) -> None:
    bucket_module.PART_BYTES = 5 * 1024**2
    BucketLake(root=root, uri=uri, owner="us").write("questions", table, SHARD)


def test_a_bucket_that_does_not_exist_is_named(store: ObjectStore, tmp_path: Path) -> None:
    lake = BucketLake(root=str(tmp_path), uri="s3://no-such-bucket-here/lake", owner="us")
    for ask in (
        lambda: lake.exists("questions", SHARD), lambda: lake.partitions("questions"),
        lambda: lake.write("questions", rows(1), SHARD),
    ):  # fmt: skip
        with pytest.raises(ObjectStoreError, match=r"no-such-bucket-here.*there is no such bucket"):
            ask()
    with pytest.raises(ObjectStoreError, match="expected s3://bucket"):
        Bucket("gs://elsewhere/lake")


def elsewhere(store: ObjectStore, status: int, code: str) -> Rule:
    """Answer as a store whose bucket is in eu-central-1, unless that is what is asked for."""

    def rule(method: str, path: str, before: int) -> Fault | None:
        there = "/eu-central-1/s3/" in store.authorization
        return None if there else Fault(status, code, {"x-amz-bucket-region": "eu-central-1"})

    return rule


def test_a_redirect_to_the_bucket_s_region_is_followed(
    machine: Machine, store: ObjectStore
) -> None:
    with store.failing(elsewhere(store, 301, "PermanentRedirect")):
        machine("one").write("questions", rows(2), SHARD)
        assert machine("two").read("questions", SHARD).num_rows == 2


def test_a_bucket_in_another_region_is_said_with_the_region(
    machine: Machine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.failing(elsewhere(store, 400, "AuthorizationHeaderMalformed")):
        with pytest.raises(ObjectStoreError, match=r"another region.*\(eu-central-1\)") as refused:
            machine().write("questions", rows(1), SHARD)
        assert "set AWS_DEFAULT_REGION" in str(refused.value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        machine("again").write("questions", rows(1), SHARD)


def test_no_credentials_and_no_network_are_explained(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = machine()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ObjectStoreError, match=r"127\.0\.0\.1:9.*run the step again"):
        away.partitions("questions")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ObjectStoreError, match="there are no credentials"):
        machine().partitions("questions")


def test_two_deployments_do_not_write_one_lake_but_both_read_it(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    ours, theirs = machine("one", "us"), machine("two", "them")
    ours.write("questions", rows(1), SHARD)
    machine("three", "us").write("questions", rows(2), SHARD)
    for write in (
        lambda: theirs.write("questions", rows(3), SHARD), lambda: theirs.journal("x"),
        lambda: theirs.publish_file("report.html", b""),
    ):  # fmt: skip
        with pytest.raises(ObjectStoreError, match=r"the deployment 'us' since .*'them'"):
            write()
    assert theirs.read("questions", SHARD).num_rows == 2
    store.client().delete_object(Bucket=bucket, Key="some/prefix/_owner.json")
    theirs.write("questions", rows(3), SHARD)
    with pytest.raises(ObjectStoreError, match="'them'"):
        ours.write("questions", rows(4), SHARD)


def test_of_two_that_begin_at_once_one_owns_the_lake(machine: Machine, store: ObjectStore) -> None:
    ours, theirs = machine("one", "us"), machine("two", "them")

    def rule(method: str, path: str, before: int) -> Fault | None:
        if method == "PUT" and path.endswith("_owner.json") and not before:
            store.rule = None
            theirs.write("questions", rows(1), SHARD)  # comes first, after we have looked
        return None

    with store.failing(rule), pytest.raises(ObjectStoreError, match="'them'"):
        ours.write("questions", rows(2), SHARD)
    assert theirs.read("questions", SHARD).num_rows == 1


def test_a_full_disk_is_explained_and_copies_make_room(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = machine()
    other = {"question_shard": "drop-02"}
    lake.write("questions", rows(1), SHARD)
    lake.write("questions", rows(1), other)
    two = machine("two")
    copy = two.path("questions", SHARD)
    free = iter([0, 0, 10**9])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with pytest.raises(ObjectStoreError, match=r"needed for a local copy.*DASD_HOME"):
        two.path("questions", other)  # the only copy was asked for just now
    os.utime(copy, (0, 0))
    free = iter([0, 10**9])
    assert two.path("questions", other).is_file() and not copy.exists()


def test_a_disk_that_is_full_while_a_partition_is_written_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = machine()
    lake.write("questions", rows(1), SHARD)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(ObjectStoreError, match=r"the disk is full.*questions/question_shard"):
        lake.write("questions", rows(2), SHARD)
    assert lake.read("questions", SHARD).num_rows == 1


def test_a_checkpoint_is_on_every_machine_and_one_file_of_it_without_the_others(
    machine: Machine,
) -> None:
    one, two = machine("one"), machine("two")
    folder = one.checkpoint_folder("dasd", "0123")
    Path(folder, "tokenizer").mkdir(parents=True)
    Path(folder, "weights.bin").write_bytes(b"w" * 1000)
    Path(folder, "tokenizer", "vocab.json").write_text("{}", encoding="utf-8")
    one.publish_checkpoint("dasd", "0123")
    assert two.checkpoint_file("dasd", "tokenizer/vocab.json").read_text() == "{}"
    assert not list(Path(two.root).rglob("weights.bin"))
    found = two.current_checkpoint("dasd")
    assert found != folder and sorted(
        str(file.relative_to(found)) for file in found.rglob("*") if file.is_file()
    ) == ["tokenizer/vocab.json", "weights.bin"]
    assert found.joinpath("weights.bin").read_bytes() == b"w" * 1000


def test_a_kept_file_is_copied_once_and_deleted_everywhere(machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    for number in range(2):
        temporary = Path(one.root, "kept", "temporary")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(bytes([number]))
        one.keep_file(temporary, f"kept/{number}")
    assert not temporary.exists()
    assert two.kept_file("kept/1").read_bytes() == b"\1"
    assert not two.kept_file("kept/2").exists()
    two.keep_only("kept", {"kept/0"})
    assert not Path(two.root, "kept", "1").exists()
    assert two.kept_file("kept/0").read_bytes() == b"\0"
    one.keep_only("kept", {"kept/0"})
    assert [file.name for file in Path(one.root, "kept").iterdir()] == ["0"]
    assert not machine("three").kept_file("kept/1").exists()


def alter_object(store: ObjectStore, bucket: str, key: str) -> None:
    """As a store that does not keep what it was given: what was said of it stays."""
    client = store.client()
    there = client.get_object(Bucket=bucket, Key=key)
    content = bytearray(there["Body"].read())
    content[len(content) // 3] ^= 1
    client.put_object(Bucket=bucket, Key=key, Body=bytes(content), Metadata=there["Metadata"])


def test_damaged_objects_of_the_question_index_are_made_again(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    near = settings_of(near_duplicate_jaccard=0.6, near_duplicate_shingle_words=2)
    drops = [
        pa.Table.from_pylist(
            [{"drop": "d.jsonl", "line": 1, "domain": "math", "answer": "1", "question": text}],
            schema=RAW_QUESTIONS,
        )
        for text in (
            "How many legs do twelve spiders have", "Add one to itself, and the sum to that",
            "How many legs do twelve spiders have?!",
        )
    ]  # fmt: skip
    others: dict[str, Any] = {}
    for name, drop in zip("ab", drops, strict=False):
        others[name] = curate(drop, near, others=dict(others), lake=machine())
    before = curate(drops[2], near, others=others, lake=machine())
    assert before.rejected.num_rows == 1
    damaged = machine().bucket.keys("_question_index/")
    for key in damaged:
        alter_object(store, bucket, f"some/prefix/{key}")
    assert curate(drops[2], near, others=others, lake=machine("two")) == before
    whole = machine("three").bucket.keys("_question_index/")
    assert set(whole).isdisjoint({*damaged} - {CATALOG})
    assert all(machine("three").kept_file(key).is_file() for key in whole)


def test_a_damaged_object_is_not_said_to_have_been_replaced(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    machine("one").write("questions", rows(2), SHARD)
    alter_object(store, bucket, KEY)
    with pytest.raises(AlteredObjectError, match=r"not what was written.*`dasd verify`"):
        machine("two").read("questions", SHARD)


def test_a_training_set_is_copied_once_and_not_to_a_disk_that_cannot_hold_it(
    machine: Machine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machine("one"), machine("two")
    name = "training_sets/low_temperature"
    folder = one.keyed_folder(name, "0123")
    folder.mkdir()
    for file in ("samples.arrow", "tokens.npy"):
        folder.joinpath(file).write_bytes(b"t" * 1000)
    one.publish_keyed(name, "0123")
    with monkeypatch.context() as patch:
        patch.setattr(bucket_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1500))
        with pytest.raises(ObjectStoreError, match=r"2,000 bytes are needed .* and 1,500 are free"):
            two.current_folder(name)
    assert not list(Path(two.root).rglob("*.npy"))
    with store.failing(lambda *_: None) as asked:
        first = two.current_folder(name)
        assert two.current_folder(name) == first
    copied = [path for method, path in asked if method == "GET" and path.endswith("tokens.npy")]
    assert len(copied) == 1
    first.joinpath("tokens.npy").write_bytes(b"t" * 999)
    with pytest.raises(DamagedError, match=r"tokens\.npy is altered"):
        two.current_folder(name, whole=False)  # the objects are as they were


def test_a_finished_folder_goes_up_once(machine: Machine, store: ObjectStore, bucket: str) -> None:
    lake = machine()
    folder = Path(lake.root, "releases", "model-0123")
    folder.mkdir(parents=True)
    folder.joinpath("README.md").write_text("a card", encoding="utf-8")
    with store.failing(lambda *_: None) as asked:
        lake.publish_folder("releases/model-0123")
        lake.publish_folder("releases/model-0123")
    uploads = [path for method, path in asked if method == "PUT" and "releases" in path]
    assert [path.split("/")[-1] for path in uploads] == ["README.md", ".manifest.json"]
    assert "some/prefix/releases/model-0123/README.md" in store.keys(bucket)


def test_a_checkpoint_whose_upload_was_cut_is_not_seen(
    machine: Machine, store: ObjectStore
) -> None:
    one, two = machine("one"), machine("two")
    folder = one.checkpoint_folder("dasd", "0123")
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        folder.joinpath(name).write_bytes(b"w" * 1000)

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(400, "ExpiredToken") if "b.bin" in path else None

    with store.failing(rule), pytest.raises(ObjectStoreError, match="expired"):
        one.publish_checkpoint("dasd", "0123")
    with pytest.raises(ContractError, match="not made yet"):
        two.current_checkpoint("dasd")
    assert not two.checkpoint_folder("dasd", "0123").exists()
    one.publish_checkpoint("dasd", "0123")
    assert two.current_checkpoint("dasd").joinpath("b.bin").is_file()


def test_duckdb_reads_in_place_what_a_query_needs(machine: Machine, store: ObjectStore) -> None:
    make_small_lake(machine("one"))
    two = machine("two")
    with store.failing(lambda *_: None) as asked:
        warehouse = open_warehouse(Path(two.root))
        shards = warehouse.sql(
            "SELECT question_shard, count(*) FROM raw_questions GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        of_one = warehouse.sql(
            "SELECT count(*) FROM teacher_responses WHERE question_shard = 'drop-02'"
        ).fetchall()
    assert shards == [("drop-01", 1), ("drop-02", 2)] and of_one == [(2,)]
    assert not list(Path(two.root).rglob("*.parquet"))
    read = [path for method, path in asked if method == "GET" and "teacher_responses/" in path]
    assert not [path for path in read if "drop-01/data" in path and "list-type" not in path]
    local = warehouse.sql("SELECT response_id, verdict FROM samples ORDER BY ALL").fetchall()
    assert local == [("r1", "kept"), ("r2", "kept"), ("r3", "rejected"), ("r4", "kept")]


def test_duckdb_reads_through_503s(machine: Machine, store: ObjectStore) -> None:
    make_small_lake(machine("one"))

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(503, "SlowDown") if before < 1 else None

    with store.failing(rule):
        warehouse = open_warehouse(Path(machine("two").root))
        assert warehouse.sql("SELECT count(*) FROM teacher_responses").fetchall() == [(4,)]


def test_drift_is_seen_from_another_machine(machine: Machine) -> None:
    def changes(lake: BucketLake, n: int) -> dict[str, float]:
        with CheckedPartition(lake, SHARD) as data:
            return dict(drift(data, "questions", Summary(n)).values)

    machine("one").write("questions", rows(30), SHARD)
    assert changes(machine("one"), 30) == {}
    machine("two").write("questions", rows(60), SHARD)
    assert changes(machine("two"), 60) == {"n_rows": 1.0}
    assert changes(machine("three"), 60) == {"n_rows": 1.0}  # checked again: the same answer
