"""The training launcher: a training program as a process of its own, followed through Pipes."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg


class TrainingFailedError(RuntimeError):
    """A training program ended without a checkpoint; the message is the program's own."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished stage reports about itself."""

    log: list[dict[str, Any]]
    certificate: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """The result as asset metadata."""
        last = self.log[-1]
        return {
            "steps": last["step"],
            "first_loss": self.log[0]["loss"],
            "final_loss": last["loss"],
            "tokens_per_second": last["tokens_per_second"],
            "training_seconds": last["seconds"],
            "samples": self.certificate["samples_in"],
            "trained_tokens": self.certificate["trained_tokens"],
            "packing_efficiency": self.certificate["packing_efficiency"],
        }


class TrainingLauncher(dg.ConfigurableResource):
    """Starts `training.sft` and forwards its progress into the run's log."""

    threads: int = 1

    def run(
        self, context: dg.AssetExecutionContext, config: dict[str, Any], output_dir: Path
    ) -> TrainingResult:
        """Run one stage in its own process until it ends.

        Args:
            config: fields of `training.sft.SftConfig` but the output folder.
            output_dir: checkpoint folder; one that is complete already is not trained again.

        Raises:
            TrainingFailedError: the program ended without a checkpoint.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump({**config, "output_dir": str(output_dir)}, file)
            file.flush()
            try:
                dg.PipesSubprocessClient().run(
                    context=context,
                    command=[*_launcher(int(config["processes"])), "--config", file.name],
                    env={
                        "OMP_NUM_THREADS": str(self.threads),
                        "TOKENIZERS_PARALLELISM": "false",
                        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                    },
                )
            except Exception as error:
                cause = Path(f"{output_dir}.partial") / "error.txt"
                if cause.is_file():
                    raise TrainingFailedError(cause.read_text(encoding="utf-8")) from error
                raise
        lines = (output_dir / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
        certificate = json.loads((output_dir / "certificate.json").read_text(encoding="utf-8"))
        return TrainingResult([json.loads(line) for line in lines], certificate)


def _launcher(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m", "training.sft"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc_per_node", str(processes), "-m", "training.sft"]
