"""What one GPU does with the project's kernels: memory, scoring, training, isolation, restart.

    make gpu-check                       # Qwen3-4B's shape on the first GPU; no network
    python -m benchmarks.gpu_check --device cpu --shape small --lengths 256

Each part runs in a process of its own, within what is left of `--minutes`. One that cannot be run
(a package is missing, the memory does not suffice) is named with its reason, and the others go on.
Writes one JSON and one Markdown table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gpu_check.parts import run
from benchmarks.gpu_check.table import table


def main() -> None:
    """Run every part, and write what came out; exit code 1 if one could not be run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--shape", choices=["qwen3-4b", "small"], default="qwen3-4b")
    parser.add_argument("--hidden", type=int, default=256, help="of the small shape")
    parser.add_argument("--layers", type=int, default=4, help="of the small shape")
    parser.add_argument("--vocabulary", type=int, default=151_936, help="of the small shape")
    parser.add_argument("--lengths", type=int, nargs="+", default=[8_192, 32_768, 65_536])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--answers", type=int, default=64, help="sampled at once")
    parser.add_argument("--new-tokens", type=int, default=256, help="of each answer")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    options = parser.parse_args()
    found = run(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu-check.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    text = table(found)
    (options.out / "gpu-check.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(any("not_run" in figures for figures in found["parts"].values()))


if __name__ == "__main__":
    main()
