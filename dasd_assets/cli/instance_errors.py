"""What to do when Dagster's instance cannot be used; known by name, as imports would be slow."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from resources.durable import DiskFullError

LOCKED = (
    "{home}: another process keeps Dagster's SQLite database locked, longer than Dagster waits for "
    "it. That is seldom Dagster itself, but a backup or an SQLite shell: `fuser -v {home}/history/"
    "runs/*.db` names it. End it and give the command again; what was finished is kept. For many "
    "writers, keep Dagster's records in PostgreSQL."
)
AWAY = (
    "PostgreSQL, which keeps Dagster's records ({home}/dagster.yaml), cannot be reached: {cause}. "
    "Start it, or mend the DAGSTER_PG_… variables of this shell (`dasd docs postgres`), and give "
    "the command again; what was finished is kept."
)
UNSET = (
    "{home}/dagster.yaml reads environment variables that are not set: {names}. Set them in this "
    "shell, for the daemon and for the webserver alike (`dasd docs postgres`)."
)
FULL = (
    "{home}: the disk is full under Dagster's SQLite databases. Make room (`df -h {home}`) and "
    "give the command again; what was finished is kept."
)
FAILING = (
    "{home}: the disk under Dagster's SQLite databases cannot be read or written ({cause}). Look "
    "at it (`dmesg`, `df -h {home}`) and give the command again; what was finished is kept."
)
READ_ONLY = (
    "{path}: cannot be used ({cause}). Make it yours to read and write, or, if it is of the data "
    "folder, set DASD_HOME to another one; what was finished is kept."
)
CORRUPT = (
    "{path}: Dagster's SQLite database is damaged ({cause}). Put it back from a backup, or move it "
    "away: Dagster then begins a new one, without the runs that were in it. The lake and the "
    "answers in it are not touched."
)
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
NO_ROOM_BESIDE = "SQLITE_IOERR_SHMSIZE"
"""What SQLite says of a disk too full for the small file that it keeps beside each database."""
VARIABLE = re.compile(r'environment variable "(\w+)" which is not set')


def instance_problem(error: BaseException) -> str | None:
    """Message with a remedy if the error is one of the instance's; None if it is another."""
    home = os.environ.get("DAGSTER_HOME", "DAGSTER_HOME")
    name, text = type(error).__name__, str(error)
    if name == "OperationalError" and "database is locked" in text:
        return LOCKED.format(home=home)
    if isinstance(found := getattr(error, "orig", error), sqlite3.Error):
        return _of_sqlite(Path(home), found)
    if isinstance(error, DiskFullError):
        return error.strerror
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE and error.filename:
        return READ_ONLY.format(path=error.filename, cause=error.strerror)
    if name == "DagsterPostgresException" or _is_of_postgres(error):
        cause = str(getattr(error.__cause__, "orig", None) or getattr(error, "orig", error))
        return AWAY.format(home=home, cause=cause.strip().splitlines()[0])
    if name == "DagsterInvalidConfigError" and (names := VARIABLE.findall(text)):
        return UNSET.format(home=home, names=", ".join(sorted(set(names))))
    return None


def _of_sqlite(home: Path, error: sqlite3.Error) -> str | None:
    cause = str(error)
    if "is full" in cause or getattr(error, "sqlite_errorname", "") == NO_ROOM_BESIDE:
        return FULL.format(home=home)
    if "disk I/O error" in cause:
        return FAILING.format(home=home, cause=cause)
    if "readonly" in cause or "unable to open" in cause:
        return READ_ONLY.format(path=home, cause=cause)
    if "not a database" in cause or "malformed" in cause:
        return CORRUPT.format(path=_damaged(home) or home, cause=cause)
    return None


def _damaged(home: Path) -> Path | None:
    """The database that cannot be read, as the error does not name it."""
    for file in sorted(home.rglob("*.db")):
        try:
            with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as opened:
                ((found,),) = opened.execute("pragma quick_check(1)").fetchall()
        except sqlite3.DatabaseError:
            return file
        if found != "ok":
            return file
    return None


def _is_of_postgres(error: BaseException) -> bool:
    """Whether a connection was refused or cut: psycopg's error in SQLAlchemy's."""
    driver = type(getattr(error, "orig", None)).__module__
    return type(error).__name__ == "OperationalError" and driver.startswith("psycopg")
