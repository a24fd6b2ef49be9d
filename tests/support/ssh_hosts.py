"""A second "machine": this one, reached by a real sshd on loopback under another name."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.daemon import until
from support.ports import free_port, listens

OTHER = "other-machine"
AWAY = "machine-that-is-away"
SSHD = "/usr/sbin/sshd"


@contextmanager
def other_machine(folder: Path) -> Iterator[dict[str, str]]:
    """While it lasts, `ssh other-machine` works with this environment; another name is away."""
    port = free_port()
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\n",
        encoding="ascii",
    )
    (folder / "ssh_config").write_text(
        f"Host {OTHER}\n  Port {port}\nHost {AWAY}\n  Port {free_port()}\n"
        f"Host *\n  HostName 127.0.0.1\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user_key\n  StrictHostKeyChecking no\n"
        f"  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n",
        encoding="ascii",
    )
    # What ~/.ssh/config is to a person.
    (folder / "bin").mkdir()
    shim = folder / "bin" / "ssh"
    shim.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n', encoding="ascii")
    shim.chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        until(lambda: _answers(port, sshd, folder), seconds=60)
        yield {"PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}"}
    finally:
        sshd.terminate()
        sshd.wait()


def _answers(port: int, sshd: subprocess.Popen[bytes], folder: Path) -> bool:
    assert sshd.poll() is None, (folder / "sshd.log").read_text(encoding="utf-8")
    return listens(port)
