"""A release in a process of its own, killed at a named moment."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from dasd_assets.release import folder

MOMENTS = ("writing", "checksums", "before the folder is there", "before the link", "link")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write(content: str, moment: str, place: Path) -> None:
    """A release of two files; killed between them, if that is the moment."""
    (place / "one.txt").write_text(content, encoding="utf-8")
    if moment == "writing":
        kill()
    (place / "data").mkdir()
    (place / "data" / "two.txt").write_text(content, encoding="utf-8")


def main(root: str, content: str, moment: str) -> None:
    """Write a release, and be killed on the way."""
    rename, replace, finish = Path.rename, Path.replace, folder._finish

    def killing_finish(place: Path) -> list[Path]:
        files = finish(place)
        if moment == "checksums":
            kill()
        return files

    def killing_rename(self: Path, target: Path) -> Path:
        if moment == "before the folder is there":
            kill()
        done = rename(self, target)
        if moment == "before the link":
            kill()
        return done

    def killing_replace(self: Path, target: Path) -> Path:
        if moment == "link":
            kill()
        return replace(self, target)

    folder._finish = killing_finish
    Path.rename, Path.replace = killing_rename, killing_replace  # type: ignore[method-assign, assignment]
    folder.publish_release(Path(root), "model", lambda place: write(content, moment, place))


if __name__ == "__main__":
    main(*sys.argv[1:])
