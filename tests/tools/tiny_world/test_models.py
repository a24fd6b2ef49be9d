"""Models that copy from the start, a sharpened one, and Muon without bfloat16."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import islice

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from tools.tiny_world.corpus import problem_stream, reading, teacher_answer
from tools.tiny_world.drawing import Held
from tools.tiny_world.models import new_student, new_teacher, sharpen
from tools.tiny_world.muon import Muon, orthogonal
from tools.tiny_world.tokenizers import train_student_tokenizer, train_teacher_tokenizer

RNG = random.Random(0)
PROBLEMS = list(islice(problem_stream("models-test", Held({})), 200))
# Words that stand more than once in the teacher's answers are one token in both vocabularies.
READ = [f"{p.question}\n{reading(p, RNG)}" for p in PROBLEMS if p.domain == "science"]
TEXTS = [f"{p.question}\n{teacher_answer(p, RNG)}" for p in PROBLEMS] + READ

Train = Callable[[Iterable[str]], PreTrainedTokenizerFast]
New = Callable[[PreTrainedTokenizerFast], Qwen3ForCausalLM]
both = pytest.mark.parametrize(
    ("train", "new"),
    [(train_teacher_tokenizer, new_teacher), (train_student_tokenizer, new_student)],
    ids=["teacher", "student"],
)


@both
@torch.no_grad()
def test_untrained_heads_look_back_and_find_what_followed_a_token_before(
    train: Train, new: New
) -> None:
    tokenizer = train(TEXTS)
    torch.manual_seed(0)
    model = new(tokenizer)
    model.set_attn_implementation("eager")
    n_found, letters = 0, [tokenizer.convert_tokens_to_ids(f"Ġ({letter})") for letter in "ABCD"]
    for text in READ[:10]:
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        first, second = model(ids, output_attentions=True).attentions[:2]
        for head in (0, 1):
            assert first[0, head, 40].argmax() == 40 - head - 1
        # From an option, before its letter is said again, back to the letter that it has.
        again = [n for n, token in enumerate(ids[0].tolist()) if token in letters][4:8]
        n_found += sum(bool(ids[0, second[0, 0, n - 1].argmax()] == ids[0, n]) for n in again)
    assert n_found >= 36


@torch.no_grad()
def test_what_was_t_1_is_the_factor_after_sharpening() -> None:
    tokenizer = train_teacher_tokenizer(TEXTS)
    torch.manual_seed(0)
    model = new_teacher(tokenizer)
    ids = torch.tensor([[5, 9, 11, 7]])
    before = model(ids).logits
    sharpen(model, 1.5)
    torch.testing.assert_close(model(ids).logits, 1.5 * before)


@pytest.mark.parametrize("shape", [(8, 8), (12, 5), (5, 12)])
def test_an_orthogonal_update_has_singular_values_near_1(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    update = orthogonal(torch.randn(shape))
    assert update.shape == shape
    values = torch.linalg.svdvals(update)
    assert values.min() > 0.5 and values.max() < 1.3


def test_muon_goes_as_torchs_own_does() -> None:
    """Which iterates in bfloat16: the same direction, to its accuracy."""
    torch.manual_seed(0)
    start = torch.randn(16, 8)
    moved = []
    for optimizer_of in (Muon, torch.optim.Muon):
        param = torch.nn.Parameter(start.clone())
        optimizer = optimizer_of([param], lr=0.1, momentum=0.95, weight_decay=0.0)
        for step in range(3):
            param.grad = torch.randn(16, 8, generator=torch.Generator().manual_seed(step))
            optimizer.step()
        moved.append((param.detach() - start).flatten())
    ours, theirs = moved
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.99
    assert ours.norm() == pytest.approx(theirs.norm().item(), rel=0.05)
