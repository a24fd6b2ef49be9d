"""Dagster's records in PostgreSQL, by processes that wait while it is away.

Dagster tries to connect for about 12 seconds. A server that is restarted, moved or updated is away
for longer: every run would fail, and a backfill end with partitions that nobody made.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import event
from sqlalchemy.engine import Dialect

from dasd_assets.running import process_kind

PATIENCE_SECONDS = 600
_TRIES = 6
"""Connections that Dagster asks for before it gives up."""
_PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class PatientPostgresStorage(DagsterPostgresStorage):
    """`storage.postgres` of a dagster.yaml, with the same settings.

    A process waits up to `PATIENCE_SECONDS` for each connection; a command of `dasd` only once it
    had one, as its user may have the address wrong. A statement that is under way when the server
    goes fails as ever: nobody knows whether it counted.
    """

    @classmethod
    def from_config_value(  # type: ignore[override]  # as the class it is of has it
        cls, inst_data: Any, config_value: Any
    ) -> DagsterPostgresStorage:
        """The storage, connected.

        Raises:
            DagsterPostgresException: the server cannot be reached.
        """
        deadline = time.monotonic() + (0 if process_kind.is_a_command else PATIENCE_SECONDS)
        while True:
            try:
                storage = super().from_config_value(inst_data, config_value)
                break
            except DagsterPostgresException:
                if time.monotonic() > deadline:
                    raise
        parts: tuple[Any, ...] = (
            storage.run_storage, storage.event_log_storage, storage.schedule_storage,
        )  # fmt: skip
        for part in parts:
            # The webserver makes itself other engines, which do not wait: its pages say why.
            event.listen(part._engine, "do_connect", _connect)
        return storage


def _connect(dialect: Dialect, record: Any, arguments: Any, settings: Any) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS / _TRIES
    while True:
        try:
            return dialect.connect(*arguments, **settings)
        except dialect.loaded_dbapi.OperationalError as error:
            if time.monotonic() > deadline:
                raise
            _log.warning("waiting for PostgreSQL: %s", str(error).strip())
            time.sleep(_PAUSE_SECONDS)
