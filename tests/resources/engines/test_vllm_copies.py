"""Several copies of a model share one stream of requests. Engines that count stand for vLLM."""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from resources.compute.gpus import VISIBLE
from resources.engines.protocol import EngineUnavailableError
from resources.engines.vllm_copies import gpu_shares, only_gpus, run_tasks


@dataclass
class Output:
    request_id: str
    prompt: Any
    finished: bool
    token_ids: list[int]

    @property
    def outputs(self) -> list[Output]:
        """As vLLM has it: answers to one request."""
        return [self]


@dataclass
class CountingEngine:
    """Takes `steps` steps for a request, and fails on the prompt `bad`."""

    steps: int = 2
    meet: threading.Barrier | None = None
    bad: int = -1
    under_way: dict[str, list[int]] = field(default_factory=dict)
    most: int = 0
    answered: list[int] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)

    def has_unfinished_requests(self) -> bool:
        return bool(self.under_way)

    def add_request(self, request_id: str, prompt: Any, params: Any) -> None:
        self.under_way[request_id] = [prompt, self.steps]
        self.most = max(self.most, len(self.under_way))

    def step(self) -> list[Output]:
        if self.meet:  # every copy has something to do at the same time
            self.meet.wait(timeout=30)
            self.meet = None
        outputs = []
        for request_id, state in list(self.under_way.items()):
            if state[0] == self.bad:
                raise ValueError(f"prompt {self.bad}")
            state[1] -= 1
            if not state[1]:
                del self.under_way[request_id]
                self.answered.append(state[0])
            outputs.append(Output(request_id, state[0], not state[1], [state[0]]))
        return outputs

    def abort_request(self, request_ids: list[str]) -> None:
        self.aborted += request_ids
        for request_id in request_ids:
            self.under_way.pop(request_id, None)


def run(engines: list[CountingEngine], n: int, most: int = 3) -> Any:
    tasks = ((number, None) for number in range(n))
    return run_tasks(engines, tasks, most, itertools.count())


@pytest.mark.parametrize("copies", [1, 4])
def test_every_task_is_answered_once_by_whichever_copy(copies: int) -> None:
    meet = threading.Barrier(copies)
    engines = [CountingEngine(steps=1 + i, meet=meet) for i in range(copies)]
    found = dict(run(engines, 200))
    assert {n: {piece.prompt for piece in pieces} for n, pieces in found.items()} == {
        n: {n} for n in range(200)
    }
    assert all(engine.answered for engine in engines)
    assert max(engine.most for engine in engines) == 3


@pytest.mark.parametrize(("copies", "most"), [(1, 6), (2, 12)])
def test_tokens_of_what_is_not_finished_are_told(copies: int, most: int) -> None:
    """Three answers at a time of three pieces each: six are the most that a copy has begun."""
    engines = [CountingEngine(steps=3, meet=threading.Barrier(1)) for _ in range(copies)]
    told: list[int] = []
    tasks = ((number, None) for number in range(12))
    found = dict(run_tasks(engines, tasks, 3, itertools.count(), told.append))
    assert {n: [piece.token_ids for piece in pieces] for n, pieces in found.items()} == {
        n: [[n]] * 3 for n in range(12)
    }
    assert 6 <= max(told) <= most
    assert told[-1] == 0


@pytest.mark.parametrize("copies", [1, 3])
def test_a_caller_who_stops_leaves_every_copy_free(copies: int) -> None:
    engines = [CountingEngine(steps=5) for _ in range(copies)]
    outputs = run(engines, 100)
    next(outputs)
    outputs.close()
    assert not any(engine.has_unfinished_requests() for engine in engines)
    assert len(dict(run(engines, 10))) == 10


def test_a_failing_copy_stops_all_and_is_told() -> None:
    engines = [CountingEngine(bad=17, steps=3) for _ in range(3)]
    with pytest.raises(ValueError, match="prompt 17"):
        list(run(engines, 1_000))
    assert not any(engine.has_unfinished_requests() for engine in engines)


def test_a_call_beside_another_is_refused() -> None:
    engines = [CountingEngine(), CountingEngine()]
    engines[1].add_request("x", 0, None)
    with pytest.raises(RuntimeError, match="another call"):
        next(run(engines, 1))


def test_each_copy_has_gpus_of_its_own() -> None:
    assert gpu_shares([], 1, 8) == [None]
    assert gpu_shares(["4", "5", "6", "7", "9"], 2, 2) == ["4,5", "6,7"]
    with pytest.raises(EngineUnavailableError, match="needs 8 GPUs, this step has 1"):
        gpu_shares(["0"], 4, 2)


@pytest.mark.parametrize("before", [None, "0,1,2,3"])
def test_a_copy_is_started_on_its_gpus_alone(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    with only_gpus("2,3"):
        assert os.environ[VISIBLE] == "2,3"
    assert os.environ.get(VISIBLE) == before
    with only_gpus(None):
        assert os.environ.get(VISIBLE) == before
