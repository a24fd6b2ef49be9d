"""Which parts there are, each run in a process of its own."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from typing import Any

Part = tuple[str, str, dict[str, Any]]
"""Name, function of `sections`, arguments."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The command, and each part's figures or why there are none."""
    ends = time.monotonic() + 60 * options.minutes
    arguments = {name: value for name, value in vars(options).items() if name != "out"}
    found: dict[str, Any] = {"options": arguments, "parts": {}}
    for name, function, settings in parts(options):
        print(f"{name} ...", file=sys.stderr, flush=True)
        found["parts"][name] = _apart(options, function, settings, ends - time.monotonic())
    return found


def parts(options: argparse.Namespace) -> Iterator[Part]:
    """What is run, the short parts first."""
    yield "machine", "machine", {}
    yield "isolation of packed samples", "isolation", {}
    yield "restart", "restart", {}
    yield "sampling", "sampling", {}
    for length in options.lengths:
        yield f"scoring, {length:,} tokens", "scoring", {"length": length}
    for length in options.lengths[-2:]:
        for packed in (True, False):
            how = "packed" if packed else "one sample"
            arguments = {"length": length, "packed": packed}
            yield f"training, {length:,} tokens, {how}", "training", arguments


def _apart(
    options: argparse.Namespace, function: str, settings: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """One part in a new process: the GPU's memory is empty, and what it does to it ends with it."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(send, options, function, settings))
    began = time.monotonic()
    process.start()
    send.close()
    try:
        if not receive.poll(max(0.0, seconds)):
            return {"not_run": f"not done within --minutes ({options.minutes:g} for all parts)"}
        figures: dict[str, Any] = receive.recv()
        return figures | {"seconds": time.monotonic() - began}
    except EOFError:
        process.join()
        return {"not_run": f"its process ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _work(send: Any, options: argparse.Namespace, function: str, settings: dict[str, Any]) -> None:
    try:
        import torch

        if options.device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} sees no GPU (--device cpu needs none)")
        from benchmarks.gpu_check import sections

        send.send(getattr(sections, function)(options, **settings))
    except ImportError as error:
        send.send({"not_run": f"{error.name or error} is not installed here"})
    except Exception as error:
        send.send({"not_run": f"{type(error).__name__}: {str(error).splitlines()[0]}"})
