"""The last step before training, alone in its process: both samples read, tokenised and packed."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from dasd_assets.profile.home import active_profile, home
from dasd_assets.profile.open_lake import open_lake
from formats.model_format import student_format
from resources.engines.load import load_tokenizer
from training.packing import pack
from training.rows import load_samples


def main() -> None:
    """Print what it took, as one JSON object."""
    began = time.perf_counter()
    profile = active_profile()
    lake = open_lake(profile, home(profile))
    model = profile.base_student.inspect()
    settings_of_format = profile.base_student.format
    student = student_format(load_tokenizer(model.path, settings_of_format), settings_of_format)
    settings = profile.temperature_scheduled_learning
    found: dict[str, Any] = {"rows": 0, "tokens": 0, "sequences": 0}
    for temperature in ("low", "high"):
        samples = load_samples(
            [lake.path("divergence_sample", {"temperature": temperature})], student,
            system_prompt=profile.system_prompt, max_length=settings.max_length,
            vocab_size=model.vocab_size,
        )  # fmt: skip
        found["rows"] += len(samples)
        found["tokens"] += len(samples.token_ids)
        found["sequences"] += len(pack(samples.lengths, settings.max_length))
    found["efficiency"] = found["tokens"] / (found["sequences"] * settings.max_length)
    found["seconds"] = time.perf_counter() - began
    found["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
