"""A server that is asked for texts: no tokens, no logprobs, no folder of the model here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from resources.engines.openai_answers import finish_reason, only_choice
from resources.engines.openai_bodies import MalformedAnswerError
from resources.engines.openai_budget import Budget
from resources.engines.openai_client import ApiClient
from resources.engines.openai_endpoints import Endpoint
from resources.engines.protocol import FinishReason
from resources.engines.settings import ServerSettings

CHARACTERS_PER_TOKEN = 4
"""For the budget, where a server does not say what an answer cost."""


@dataclass(frozen=True)
class TextRequest:
    """One prompt, as a user's message (chat) or as it is (completions)."""

    prompt: str
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class TextAnswer:
    """What came back; of a chat the content alone, without reasoning that is told apart."""

    text: str
    finish_reason: FinishReason


class TextServer:
    """Asks one request at a time from any number of threads, within a budget."""

    def __init__(self, settings: ServerSettings, endpoint: Literal["chat", "completions"]) -> None:
        """Nothing is sent yet.

        Raises:
            EngineUnavailableError: the environment variable with the API key is not set.
        """
        self._settings, self._is_chat = settings, endpoint == "chat"
        self.budget = Budget(settings)
        self._client = ApiClient(settings)

    def ask(self, request: TextRequest, label: str) -> TextAnswer:
        """Send a request until it is answered.

        Args:
            label: names the request in errors.

        Raises:
            BudgetExceededError: the budget was spent before; nothing was sent.
            RequestFailedError: refused, or failed at every attempt.
            EngineUnavailableError: the server does not accept the key.
        """
        if not self.budget.allows_more():
            raise self.budget.exceeded(1)
        body: dict[str, Any] = {
            "model": self._settings.served_model,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "seed": request.seed,
        }
        message = [{"role": "user", "content": request.prompt}]
        body |= {"messages": message} if self._is_chat else {"prompt": request.prompt}

        def read(answer: Any, _: Endpoint) -> TextAnswer:
            choice = only_choice(answer, self._client.clean)
            text = (choice.get("message") or {}).get("content") if self._is_chat else choice["text"]
            # A message without content is one whose tokens all went into the reasoning.
            text = text or ""
            if not isinstance(text, str):
                raise MalformedAnswerError(f"its text is a {type(text).__name__}")
            counted = (len(part) // CHARACTERS_PER_TOKEN for part in (request.prompt, text))
            self.budget.add(answer.get("usage"), *counted)
            return TextAnswer(text, finish_reason(choice))

        path = "chat/completions" if self._is_chat else "completions"
        return self._client.wait(self._client.post(path, body, label, read))

    def served_models(self) -> list[str]:
        """Names of the models that all of the servers have; nothing is spent.

        Raises:
            RequestFailedError, EngineUnavailableError: as `ask`.
        """
        common: dict[str, int] = {}
        endpoints = self._client.endpoints.all
        for endpoint in endpoints:
            listed = self._client.get(f"{endpoint.url}/models", endpoint, 1)
            entries = listed.get("data") if isinstance(listed, dict) else None
            for entry in entries or []:
                name = str(entry.get("id")) if isinstance(entry, dict) else ""
                common[name] = common.get(name, 0) + 1
        return [name for name, n in common.items() if n == len(endpoints)]

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
