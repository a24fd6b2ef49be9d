"""A PostgreSQL server of its own, stopped, started, dumped and restored as an operator would."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.ports import free_port

PASSWORD = "a-password-that-nobody-may-see"
USER = DATABASE = "dagster"
LOGS_BUCKET = "step-output"
"""Where the tests let deploy/postgres/dagster.yaml put what steps print."""


def programs() -> Path:
    """Folder of the server's programs; Debian keeps them off the PATH."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    newest = max(found, key=lambda path: int(path.parent.parent.name), default=None)
    return (newest or Path(shutil.which("initdb") or "initdb")).parent


class PostgresServer:
    """A cluster in a folder, listening on a free port of loopback."""

    def __init__(self) -> None:
        # Not below pytest's folder: the server has a user of its own, who may not look into it.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data, password_file = self.folder / "data", self.folder / "password"
        self.port = free_port()
        password_file.write_text(PASSWORD, encoding="utf-8")
        # The server refuses to run as root.
        self._owner = "postgres" if os.getuid() == 0 else None
        for path in (self.folder, password_file) if self._owner else ():
            shutil.chown(path, self._owner)
        self._run(
            "initdb", "-D", self._data, "-U", USER, "--auth=scram-sha-256", "--no-sync",
            f"--pwfile={password_file}",
        )  # fmt: skip
        self.start()
        self._run("createdb", *self._where, DATABASE)

    @property
    def _where(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]

    @property
    def environment(self) -> dict[str, str]:
        """What deploy/postgres/dagster.yaml reads."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_USER": USER,
            "DAGSTER_PG_PASSWORD": PASSWORD,
            "DAGSTER_PG_DB": DATABASE,
        }

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        self._run(
            "pg_ctl", "-D", self._data, "-l", self.folder / "log", "-o", options, "-w", "start"
        )

    def close(self) -> None:
        """Stop it and forget its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def stop(self) -> None:
        """End every connection at once, as a restart of the machine does."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def dump(self, file: Path) -> None:
        file.write_bytes(self._run("pg_dump", *self._where, "-Fc", DATABASE))

    def restore(self, file: Path) -> None:
        self._run("pg_restore", *self._where, "-d", DATABASE, given=file.read_bytes())

    def _run(self, program: str, *arguments: str | Path, given: bytes | None = None) -> bytes:
        command = [str(programs() / program), *map(str, arguments)]
        if self._owner:
            command = ["runuser", "-u", self._owner, "--", *command]
        # A server that is started keeps what it inherits open: no pipe for its errors.
        with (self.folder / "errors").open("a+") as errors:
            result = subprocess.run(
                command, input=given, stdout=errors if program == "pg_ctl" else subprocess.PIPE,
                stderr=errors, env=os.environ | {"PGPASSWORD": PASSWORD}, cwd="/", check=False,
            )  # fmt: skip
            if result.returncode:
                errors.seek(0)
                raise RuntimeError(f"{program}: {errors.read()[-2000:]}")
        return result.stdout or b""
