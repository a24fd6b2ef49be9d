"""What is said when Dagster's records or the home cannot be used: the path, and what to do."""

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError, OperationalError

from dasd_assets.cli.instance_errors import instance_problem


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def sqlalchemys(error: sqlite3.DatabaseError) -> DatabaseError:
    kind = OperationalError if isinstance(error, sqlite3.OperationalError) else DatabaseError
    return kind("insert …", None, error)


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        ("database or disk is full", "Make room"),
        ("attempt to write a readonly database", "set DASD_HOME"),
        ("unable to open database file", "set DASD_HOME"),
        ("database is locked", "End it"),
        ("disk I/O error", "`dmesg`"),
    ],
)
def test_an_error_of_sqlite_is_a_path_and_a_remedy(home: Path, cause: str, remedy: str) -> None:
    problem = instance_problem(sqlalchemys(sqlite3.OperationalError(cause)))
    assert problem is not None
    assert str(home) in problem and remedy in problem and "\n" not in problem


@pytest.mark.parametrize("damage", [b"x" * 4_096, None])
def test_a_damaged_database_is_found_among_the_others(home: Path, damage: bytes | None) -> None:
    for name in ("a.db", "b.db", "c.db"):
        with sqlite3.connect(home / name) as opened:
            opened.execute("create table t as select hex(randomblob(20000)) as x")
        opened.close()
    content = (home / "b.db").read_bytes()
    (home / "b.db").write_bytes(damage or content[:4_096] + b"\xff" * 4_096 + content[8_192:])
    with pytest.raises(sqlite3.DatabaseError) as raised, sqlite3.connect(home / "b.db") as opened:
        opened.execute("select sum(length(x)) from t").fetchall()
    opened.close()
    problem = instance_problem(sqlalchemys(raised.value))
    assert problem is not None and problem.startswith(f"{home / 'b.db'}: ")
    assert "move it away" in problem and "\n" not in problem


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_home_that_cannot_be_written_is_named(home: Path, number: int) -> None:
    problem = instance_problem(OSError(number, "reason", str(home / "lake")))
    assert problem is not None
    assert problem.startswith(f"{home / 'lake'}: cannot be used (reason)")


def test_other_errors_are_not_the_instances(home: Path) -> None:
    assert instance_problem(OSError("plain")) is None
    assert instance_problem(ValueError("database is locked")) is None
