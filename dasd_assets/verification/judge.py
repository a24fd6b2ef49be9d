"""A model as a grader: it is shown question, reference and answer, and says right or wrong."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from typing import Any, Final

from dasd_assets.profile import JudgeGrader
from dasd_assets.profile.domains import PLACEHOLDER
from dasd_assets.verification.grade import Grade, NotJudgedError
from dasd_assets.verification.texts import last_match
from dasd_assets.verification.verdicts import Verdicts
from resources.engines.openai_budget import Budget, BudgetExceededError
from resources.engines.openai_client import RequestFailedError
from resources.engines.openai_text import TextAnswer, TextRequest, TextServer

DOWN_AFTER: Final = 5
"""Requests that failed one after the other, each at all its attempts: nothing more is asked."""

OTHER_TEMPERATURE: Final = 0.7
"""Of the second try, if the first had less: a greedy judge would say the same again."""

_SAID_CHARACTERS: Final = 100

_logger = logging.getLogger(__name__)


class ModelJudge:
    """The judge of one domain in one step; any number of threads may ask it."""

    def __init__(self, domain: str, settings: JudgeGrader, verdicts: Verdicts) -> None:
        """Nothing is opened yet: references are checked where there is no key, too."""
        self._domain, self._settings, self._verdicts = domain, settings, verdicts
        self._server: TextServer | None = None
        self._lock = threading.Lock()
        self._n_failed = 0
        self._stopped: str | None = None

    def open(self) -> TextServer:
        """The server, of which nothing has been asked yet.

        Raises:
            EngineUnavailableError: the environment variable with the API key is not set.
        """
        with self._lock:
            if self._server is None:
                self._server = TextServer(self._settings, self._settings.endpoint)
            return self._server

    @property
    def budget(self) -> Budget | None:
        """What was spent; None if nothing was asked."""
        return self._server.budget if self._server else None

    def grade(self, question: str, answer: str, reference: Any) -> Grade:
        """Ask for a verdict, and once more if the first answer has none.

        Raises:
            ValueError: the judge is to be shown a reference, and there is none.
            NotJudgedError: it gave no verdict twice, is over budget, or cannot be reached.
            EngineUnavailableError: its server does not accept the key.
        """
        self.check_reference(reference)
        prompt = filled(
            self._settings.prompt,
            {"question": question, "reference": _as_text(reference), "answer": answer},
        )
        said = None
        for seed, temperature in enumerate((0.0, OTHER_TEMPERATURE)):
            said = self._asked(
                TextRequest(
                    prompt, self._settings.max_tokens,
                    max(temperature, self._settings.temperature), seed,
                )
            )  # fmt: skip
            if (is_right := self._verdict(said)) is not None:
                shown = "" if is_right else f"the judge said {_end(said.text)}"
                return Grade(is_right, "correct" if is_right else "judged_wrong", None, shown)
        raise NotJudgedError(
            f"the judge of {self._domain} answered twice without the verdict that "
            f"domains.{self._domain}.verdict looks for; at last "
            + (
                f"cut off at max_tokens ({self._settings.max_tokens})"
                if said and said.finish_reason == "length"
                else _end(said.text if said else "")
            )
        )

    def check_reference(self, reference: Any) -> None:
        """Raise ValueError if there is no reference to show the judge."""
        if self._settings.needs_reference and not _as_text(reference).strip():
            raise ValueError(
                f"the prompt of domains.{self._domain} shows a reference, and the question has none"
            )

    def close(self) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()

    def _verdict(self, said: TextAnswer) -> bool | None:
        """Right, wrong, or None: it has no verdict, or was cut off before its end."""
        if said.finish_reason != "stop":
            return None
        try:
            found = last_match(self._settings.verdict, said.text)
        except TimeoutError:
            return None
        groups = {} if found is None else found.groupdict()
        is_right, is_wrong = (groups.get(name) is not None for name in ("right", "wrong"))
        return None if is_right == is_wrong else is_right

    def _asked(self, request: TextRequest) -> TextAnswer:
        key = self._key(request)
        if (known := self._verdicts.find(key)) is not None:
            return known
        with self._lock:
            if self._stopped:
                raise NotJudgedError(self._stopped)
        server = self.open()
        try:
            answer = server.ask(request, f"{key[:12]} to the judge of {self._domain}")
        except BudgetExceededError:
            raise NotJudgedError(self._stop(self._over(server.budget))) from None
        except RequestFailedError as error:
            with self._lock:
                self._n_failed += 1
                is_down = self._n_failed >= DOWN_AFTER
            said = f"the judge of {self._domain} cannot be asked: {error}"
            raise NotJudgedError(self._stop(said) if is_down else said) from None
        with self._lock:
            self._n_failed = 0
        self._verdicts.keep(key, answer)
        return answer

    def _over(self, budget: Budget) -> str:
        settings = self._settings
        return (
            f"the judge of {self._domain} is over budget: {budget.prompt_tokens} prompt and "
            f"{budget.completion_tokens} completion tokens, cost {budget.cost:.4g} "
            f"(max_total_tokens {settings.max_total_tokens}, max_cost {settings.max_cost})"
        )

    def _stop(self, why: str) -> str:
        """Ask nothing more in this step."""
        with self._lock:
            if self._stopped is None:
                self._stopped = why
                _logger.warning("%s; it is asked nothing more in this step", why)
            return self._stopped

    def _key(self, request: TextRequest) -> str:
        """Hex SHA-256 over everything that shapes what the judge says."""
        shape = [
            self._settings.served_model, self._settings.endpoint, request.prompt,
            request.max_tokens, request.temperature, request.seed,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


def filled(prompt: str, texts: dict[str, str]) -> str:
    """A prompt with its placeholders replaced, each once: what is put in is never looked at."""
    text: str = PLACEHOLDER.sub(lambda found: texts[found[1]], prompt)
    # A reference as JSON can spell half a surrogate pair, and UTF-8 cannot.
    return text.encode(errors="replace").decode()


def _as_text(reference: Any) -> str:
    if reference is None or isinstance(reference, str):
        return reference or ""
    return json.dumps(reference, ensure_ascii=False, sort_keys=True)


def _end(text: str) -> str:
    """The last of what a judge said, where its verdict should be."""
    shown = text.strip()
    return repr(shown if len(shown) <= _SAID_CHARACTERS else "…" + shown[-_SAID_CHARACTERS:])
