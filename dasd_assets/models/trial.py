"""A loaded model, or one behind a server, tried on one question before all others are paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jinja2 import TemplateError

from dasd_assets.answering.logprobs import first_known, logprobs_problem
from dasd_assets.answering.requests import request_seed
from dasd_assets.models.formats_of_models import ANSWER, QUESTION, REASONING
from formats.answer_format import FormatError
from formats.chat import chat
from formats.model_format import ModelFormat
from resources.engines.model_folder import ModelFolderError
from resources.engines.openai_requests import UnsupportedRequestError
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    ScoringRequest,
)

MOST_TOKENS = 1_024
"""Of the answer that is asked for: enough to see a short reasoning end, a cent at most prices."""
ATTEMPTS = 3
"""Answers that are asked for until one can be read: a sampled one may be malformed by chance."""
SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class Asking:
    """How a profile asks a teacher, as far as one question can try it."""

    system_prompt: str
    reasoning_effort: str
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    has_reasoning: bool
    continues: bool
    """Whether it also goes on with a text that was begun, as mixed-policy distillation asks."""
    top_logprobs: int = 0


@dataclass(frozen=True)
class Found:
    """What a trial found: one line, and what was answered."""

    text: str
    answer: str = ""


def try_teacher(engine: InferenceEngine, asking: Asking) -> Found:
    """Have one question answered, take the answer apart, and look for its logprobs.

    A request of at most MOST_TOKENS tokens (again, up to ATTEMPTS times, if the answer cannot be
    read) and, where the profile needs it, one more token behind half of the answer. Servers are
    asked for two tokens besides, which tell whether their logprobs are raw.

    Raises:
        ModelFolderError: what is wrong with the answer, the answer, and what to set.
        EngineUnavailableError, RequestFailedError: the server cannot be used.
    """
    name = engine.identity.model
    request = _request(engine, asking)
    for attempt in range(ATTEMPTS):
        seed = request_seed(asking.seed, "trial", attempt)
        (completion,) = engine.generate([replace(request, seed=seed)])
        text = engine.decode(completion.token_ids)
        if problem := _logprobs_problem(completion, engine.format):
            raise ModelFolderError(
                f"{name}: one question was asked, and the answer has no usable logprobs: {problem}."
                " Every answer like it would be rejected as invalid_logprobs. Use a server that "
                "returns the raw logprob of each token (vLLM does, with --logprobs-mode "
                f"raw_logprobs). Answered was {_short(text)}"
            )
        problem = answer_problem(completion, engine.format, has_reasoning=asking.has_reasoning)
        if problem is None:
            break
    else:
        raise ModelFolderError(
            f"{name}: one question was asked {ATTEMPTS} times, and no answer can be read as "
            f"{engine.format.format.name}: {problem}. Name its format (`format.name`, "
            "`format.marks`), or set what its chat template wants (`format.template_settings`); "
            f"`dasd docs bring-your-own-teacher` says how. Answered was {_short(text)}"
        )
    if asking.continues:
        _continue(engine, replace(request, max_tokens=1), completion)
    found = f"answered {len(completion.token_ids)} tokens in format {engine.format.format.name}"
    if completion.finish_reason == "length":
        found += ", cut off there: the end of an answer was not seen"
    found += f", with {engine.identity.logprobs_mode}, one per token"
    if asking.top_logprobs:
        found += f", and of the {asking.top_logprobs} likeliest tokens"
    return Found(found + (", and goes on with a given text" if asking.continues else ""), text)


def try_student(engine: InferenceEngine, system_prompt: str, *, has_reasoning: bool) -> Found:
    """Have an example answer scored, as every answer of the teacher will be.

    Raises:
        ModelFolderError: the scores are no log-probabilities, or not one per token.
    """
    prompt = engine.render(chat(system_prompt, QUESTION))
    token_ids = engine.format.encode(REASONING if has_reasoning else "", ANSWER)
    (scores,) = engine.score([ScoringRequest("trial", prompt.token_ids, tuple(token_ids))])
    problem = logprobs_problem(scores.logprobs, len(token_ids))
    if problem is None and (scores.ranks < 1).any():
        problem = f"rank {scores.ranks.min()}"
    if problem:
        raise ModelFolderError(
            f"{engine.identity.model}: an example answer was scored, and its probabilities are "
            f"none: {problem}. The weights may be damaged, or too large for engine.dtype "
            "(float16); try bfloat16"
        )
    mean = float(np.exp(scores.logprobs.mean()))
    return Found(f"scored {len(token_ids)} tokens, of probability {mean:.2g} in the mean")


def answer_problem(
    completion: Completion, model: ModelFormat, *, has_reasoning: bool
) -> str | None:
    """Why an answer could not be used, whatever was asked; None if it could.

    Of one that was cut off only what there is of it can be examined.
    """
    if completion.finish_reason not in ("stop", "length"):
        return f"the server ended it with {completion.finish_reason}"
    if not len(completion.token_ids):
        return "it has no tokens"
    try:
        parts = model.format.parse(completion.token_ids, model.token_bytes)
    except FormatError as error:
        return str(error)
    if parts.tool_call:
        return f"it calls a tool ({parts.tool_call})"
    if has_reasoning and not parts.reasoning:
        return "it has no reasoning, which response_filtering.require_reasoning asks for"
    if completion.finish_reason == "stop" and not parts.answer:
        return "it has no final answer"
    return None


def _request(engine: InferenceEngine, asking: Asking) -> GenerationRequest:
    """The question as the profile asks it, but for the length of its answer."""
    name = engine.identity.model
    try:
        prompt = engine.render(
            chat(asking.system_prompt, QUESTION), reasoning_effort=asking.reasoning_effort
        )
    except TemplateError as error:
        raise ModelFolderError(
            f"{name}: its chat template does not take a question with the profile's system prompt "
            f"and teacher_responses.reasoning_effort {asking.reasoning_effort}: {error}. Set what "
            "it wants in `format.template_settings`"
        ) from error
    request = GenerationRequest(
        prompt, asking.temperature, asking.top_p, asking.max_tokens, asking.seed,
        top_logprobs=asking.top_logprobs,
    )  # fmt: skip
    if problem := engine.check(request):
        raise ModelFolderError(
            f"{name}: not even a short question would be answered: {problem}. Lower "
            "teacher_responses.max_tokens"
        )
    return replace(request, max_tokens=min(asking.max_tokens, MOST_TOKENS))


def _continue(engine: InferenceEngine, request: GenerationRequest, answer: Completion) -> None:
    """Have the first half of an answer gone on with, by one token."""
    half = answer.token_ids[: max(1, len(answer.token_ids) // 2)]
    more = replace(request, prefix_token_ids=tuple(map(int, half)))
    try:
        (continued,) = engine.generate([more])
    except UnsupportedRequestError as error:
        raise ModelFolderError(
            f"{engine.identity.model}: it cannot finish what a student began: {error}. Or leave "
            "stage 3 out: `mixed_policy_distillation: off`"
        ) from error
    if not len(continued.token_ids):
        raise ModelFolderError(
            f"{engine.identity.model}: asked to go on with half an answer, it emitted nothing "
            f"(finish reason {continued.finish_reason}). Leave stage 3 out "
            "(`mixed_policy_distillation: off`), or use a server that continues a given prompt"
        )


def _logprobs_problem(completion: Completion, model: ModelFormat) -> str | None:
    first = first_known(completion.logprobs) if model.format.name == "split" else 0
    return logprobs_problem(completion.logprobs[first:], len(completion.token_ids) - first)


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")
