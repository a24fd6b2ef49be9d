"""A server of vLLM's own answers from the weights of a release as transformers does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from support.training_rows import STUDENT
from support.vllm_server import VllmServer
from transformers import AutoModelForCausalLM, AutoTokenizer

from dasd_assets.release.weights import write_model

pytestmark = [pytest.mark.slow, pytest.mark.deployment("vllm")]

MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is 12 + 30?"},
]


@pytest.mark.timeout(300)
def test_vllm_serves_the_release(tmp_path: Path) -> None:
    """A chat question, with the release's own chat template: what transformers answers."""
    folder = tmp_path / "model"
    folder.mkdir()
    write_model(Path(STUDENT), folder, 2**19)
    assert len(list(folder.glob("*.safetensors"))) > 1
    server = VllmServer(folder, tmp_path / "vllm.log", "released", 512)
    try:
        server.wait()
        answer = httpx.post(
            f"{server.base_url}/chat/completions",
            json={
                "model": "released", "messages": MESSAGES, "max_tokens": 200, "temperature": 0,
            },
            timeout=120,
        ).raise_for_status().json()["choices"][0]  # fmt: skip
    finally:
        server.stop()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    inputs = tokenizer.apply_chat_template(
        MESSAGES, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, max_new_tokens=200, do_sample=False)
    expected = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer["finish_reason"] == "stop"
    assert answer["message"]["content"] == expected
    assert expected.startswith("<think>")
