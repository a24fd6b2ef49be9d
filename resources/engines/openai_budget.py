"""What one step may spend at a server, in tokens or money."""

from __future__ import annotations

from typing import Any

from resources.engines.settings import ServerSettings

MOST_TOKENS = 10**9
"""Of one answer; a server that says more says nonsense."""


class BudgetExceededError(RuntimeError):
    """The budget is spent. What was answered has been given out; the rest was never asked."""


class Budget:
    """Counts what the answers say they cost; what a failed try cost is known to the server only."""

    def __init__(self, settings: ServerSettings) -> None:
        """Nothing is spent yet."""
        self._settings = settings
        self.prompt_tokens = 0
        self.completion_tokens = 0

    @property
    def cost(self) -> float:
        """Money spent, by the two prices of the settings."""
        return (
            self.prompt_tokens * self._settings.price_per_million_prompt_tokens
            + self.completion_tokens * self._settings.price_per_million_completion_tokens
        ) / 1e6

    def add(self, usage: Any, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one answer by its `usage`, or by the tokens themselves where that is missing."""
        usage = usage if isinstance(usage, dict) else {}
        self.prompt_tokens += _count(usage.get("prompt_tokens"), prompt_tokens)
        self.completion_tokens += _count(usage.get("completion_tokens"), completion_tokens)

    def allows_more(self) -> bool:
        """Whether another request may be sent."""
        tokens, cost = self._settings.max_total_tokens, self._settings.max_cost
        return (tokens is None or self.prompt_tokens + self.completion_tokens < tokens) and (
            cost is None or self.cost < cost
        )

    def exceeded(self, left: int) -> BudgetExceededError:
        """The error that says what was spent and how many requests are left."""
        tokens, cost = self._settings.max_total_tokens, self._settings.max_cost
        return BudgetExceededError(
            f"the budget of this step is spent: {self.prompt_tokens} prompt and "
            f"{self.completion_tokens} completion tokens, cost {self.cost:.4g} "
            f"(max_total_tokens {tokens}, max_cost {cost}); {left} requests were not sent. "
            "Finished answers are kept: raise the budget and run again for the rest."
        )


def _count(said: Any, counted: int) -> int:
    return said if type(said) is int and 0 <= said <= MOST_TOKENS else counted
