"""Tokens of answers that are not finished count, and what was told is never taken back."""

from __future__ import annotations

import pytest

from resources.engines.openai_metrics import tokens_sampled
from resources.engines.protocol import Progress
from resources.engines.under_way import Count


def test_tokens_never_go_back_and_the_end_is_told_once() -> None:
    told: list[Progress] = []
    count = Count(2, told.append)
    count.under_way(50, 2)
    count.finished(30)  # 20 of the others are known still
    count.under_way(10, 1)  # an older look at the server
    count.under_way(40)
    count.finished(45)
    count.under_way(0)
    assert [(one.done, one.n_tokens, one.under_way, one.answers_under_way) for one in told] == [
        (0, 50, 50, 2), (1, 50, 20, 0), (1, 50, 20, 1), (1, 70, 40, 0), (2, 75, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "n"),
    [
        # As vLLM writes it: help, a counter and when it was created.
        ("# HELP vllm:generation_tokens_total Number of generation tokens processed.\n"
         "# TYPE vllm:generation_tokens_total counter\n"
         'vllm:generation_tokens_total{engine="0",model_name="m"} 1.5e+03\n'
         'vllm:generation_tokens_total{engine="1",model_name="m"} 7.0\n'
         'vllm:generation_tokens_created{engine="0",model_name="m"} 1.79e+09\n', 1_507),
        ('vllm:request_generation_tokens_sum{engine="0"} 12.0\n', None),
        ("vllm:generation_tokens_total 1.2.3\n", None),
        ('{"version": "9"}', None),
    ],
)  # fmt: skip
def test_a_servers_count_is_read(metrics: str, n: int | None) -> None:
    assert tokens_sampled(metrics) == n
