"""The last step before training, alone in its process: both samples tokenised and packed."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dasd_assets.profile.home import active_profile, home
from dasd_assets.profile.open_lake import open_lake
from training.encode_parts import SetConfig
from training.make_set import make_training_set


def main() -> None:
    """Print what it took, as one JSON object; the peak is of this process and of each beside it."""
    began = time.perf_counter()
    profile = active_profile()
    lake = open_lake(profile, home(profile))
    settings = profile.temperature_scheduled_learning
    found: dict[str, Any] = {"rows": 0, "tokens": 0, "sequences": 0}
    for temperature in ("low", "high"):
        with tempfile.TemporaryDirectory(dir=lake.root) as folder:
            made = make_training_set(
                SetConfig(
                    model_path=str(profile.base_student.inspect().path),
                    samples=[str(lake.path("divergence_sample", {"temperature": temperature}))],
                    system_prompt=profile.system_prompt,
                    output_dir=str(Path(folder, "set")),
                    format=profile.base_student.format,
                    max_length=settings.max_length,
                    workers=len(os.sched_getaffinity(0)),
                ),
                lambda line: None,
            )
        found["rows"] += made.n_samples
        found["tokens"] += made.n_tokens
        found["sequences"] += made.n_sequences
    found["efficiency"] = found["tokens"] / (found["sequences"] * settings.max_length)
    found["seconds"] = time.perf_counter() - began
    found["peak_gib"] = max(
        resource.getrusage(who).ru_maxrss / 1024**2
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
