"""The model's own files: weights in safetensors, configuration, tokenizer with chat template."""

from __future__ import annotations

from pathlib import Path


def write_model(checkpoint: Path, release: Path, max_shard_bytes: int) -> None:
    """Write a checkpoint as transformers writes a model for the hub, in the type it was trained in.

    The weights are held in memory once.

    Args:
        max_shard_bytes: of one file of weights, unless a single tensor is larger.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto", trust_remote_code=False)
    model.save_pretrained(release, max_shard_size=max_shard_bytes)
    AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False).save_pretrained(release)


def loading_problems(release: Path) -> list[str]:
    """What would go wrong when the model is loaded; no weights are read.

    Configuration and tokenizer are loaded, the chat template is applied, and the headers of the
    weights are compared with the tensors that the architecture has.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from resources.engines.model_folder import ModelFolderError, inspect_model
    from resources.engines.weight_files import tensor_shapes

    try:
        inspect_model(str(release))
        config = AutoConfig.from_pretrained(release, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(release, trust_remote_code=False)
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
        )
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ModelFolderError as error:
        return [str(error)]
    except Exception as error:  # transformers raises many kinds
        return [f"{type(error).__name__}: {error}"]
    found = tensor_shapes(release)
    # Of tied weights (output layer and embedding) the parameters have one name, the state both.
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    problems = [
        f"{name}: {'missing' if name not in found else f'has shape {list(found[name])}'}, "
        f"the architecture has {list(shape)}"
        for name, shape in shapes.items()
        if found.get(name) != shape
    ]
    unknown = sorted(found.keys() - model.state_dict().keys())
    return problems + [f"{name}: unknown to the architecture" for name in unknown]
