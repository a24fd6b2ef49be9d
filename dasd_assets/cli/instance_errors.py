"""What to do when Dagster's instance cannot be used; known by name, as imports would be slow."""

from __future__ import annotations

import os
import re

LOCKED = (
    "{home}: another process keeps Dagster's SQLite database locked, longer than Dagster waits for "
    "it. That is seldom Dagster itself, but a backup or an SQLite shell: `fuser -v {home}/history/"
    "runs/*.db` names it. End it and give the command again; what was finished is kept. For many "
    "writers, keep Dagster's records in PostgreSQL."
)
AWAY = (
    "PostgreSQL, which keeps Dagster's records ({home}/dagster.yaml), cannot be reached: {cause}. "
    "Start it, or mend the DAGSTER_PG_… variables of this shell (docs/postgres.md), and give the "
    "command again; what was finished is kept."
)
UNSET = (
    "{home}/dagster.yaml reads environment variables that are not set: {names}. Set them in this "
    "shell, for the daemon and for the webserver alike (docs/postgres.md)."
)
VARIABLE = re.compile(r'environment variable "(\w+)" which is not set')


def instance_problem(error: BaseException) -> str | None:
    """Message with a remedy if the error is one of the instance's; None if it is another."""
    home = os.environ.get("DAGSTER_HOME", "DAGSTER_HOME")
    name, text = type(error).__name__, str(error)
    if name == "OperationalError" and "database is locked" in text:
        return LOCKED.format(home=home)
    if name == "DagsterPostgresException" or _is_of_postgres(error):
        cause = str(getattr(error.__cause__, "orig", None) or getattr(error, "orig", error))
        return AWAY.format(home=home, cause=cause.strip().splitlines()[0])
    if name == "DagsterInvalidConfigError" and (names := VARIABLE.findall(text)):
        return UNSET.format(home=home, names=", ".join(sorted(set(names))))
    return None


def _is_of_postgres(error: BaseException) -> bool:
    """Whether a connection was refused or cut: psycopg's error in SQLAlchemy's."""
    driver = type(getattr(error, "orig", None)).__module__
    return type(error).__name__ == "OperationalError" and driver.startswith("psycopg")
