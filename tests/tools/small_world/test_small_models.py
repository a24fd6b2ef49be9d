"""A student that looks back from the start, a sharpened teacher, and Muon without bfloat16."""

from __future__ import annotations

import random
from itertools import islice

import pytest
import torch

from tools.small_world.corpus import problem_stream, student_answer, teacher_answer
from tools.small_world.models import new_student, sharpen
from tools.small_world.muon import Muon, orthogonal
from tools.small_world.tokenizers import train_student_tokenizer, train_teacher_tokenizer
from tools.tiny_world.drawing import Held
from tools.tiny_world.models import new_teacher

RNG = random.Random(0)
PROBLEMS = list(islice(problem_stream("models-test", Held({})), 200))


@torch.no_grad()
def test_the_students_first_heads_look_one_and_two_tokens_back() -> None:
    texts = [f"{p.question}\n{student_answer(p, RNG)}" for p in PROBLEMS]
    tokenizer = train_student_tokenizer(texts)
    torch.manual_seed(0)
    model = new_student(tokenizer)
    model.set_attn_implementation("eager")
    ids = tokenizer(texts[0], return_tensors="pt")["input_ids"]
    attention = model(ids, output_attentions=True).attentions[0][0]
    for head in (0, 1):
        place = attention[head, 40].argmax().item()
        assert place == 40 - head - 1


@torch.no_grad()
def test_what_was_t_1_is_the_factor_after_sharpening() -> None:
    tokenizer = train_teacher_tokenizer(teacher_answer(p, RNG) for p in PROBLEMS)
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
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.99
    assert moved[0].norm() == pytest.approx(moved[1].norm().item(), rel=0.05)
