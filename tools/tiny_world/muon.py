"""Muon for a CPU: these models are trained by many small steps, each of which has to be cheap."""

from __future__ import annotations

import torch


def orthogonal(matrix: torch.Tensor, n_iterations: int = 5) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, roughly: Muon's Newton-Schulz iteration, float32.

    `torch.optim.Muon` has it in bfloat16, which a CPU without such instructions computes 25 times
    slower. Coefficients: Jordan et al., Muon (2024).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm().clamp(min=1e-7)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    for _ in range(n_iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each matrix is made orthogonal (Jordan et al., 2024)."""

    def __init__(
        self, params: list[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all matrices that have a gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    state["momentum"] = torch.zeros_like(param)
                state["momentum"].lerp_(param.grad, 1 - group["momentum"])
                update = orthogonal(param.grad.lerp(state["momentum"], group["momentum"]))
                rate = group["lr"] * max(1.0, param.shape[0] / param.shape[1]) ** 0.5
                param.mul_(1 - group["lr"] * group["weight_decay"])
                param.add_(update, alpha=-rate)
