"""The figures of `make gpu-check` as Markdown."""

from __future__ import annotations

from typing import Any

from formats.pages import markdown_table


def table(found: dict[str, Any]) -> str:
    """The machine, then a line of each part; the last column says why one was not run."""
    machine = found["parts"]["machine"]
    rows = [
        [name, *_line(figures)] for name, figures in found["parts"].items() if name != "machine"
    ]
    return f"""{_machine(machine)}

{markdown_table(["part", "tokens/s", "of the matmul rate", "goal", "peak GiB", "found"], rows)}
"""


def _machine(figures: dict[str, Any]) -> str:
    if "not_run" in figures:
        return f"**Machine**: {figures['not_run']}"
    memory = f", {figures['memory_gib']:.0f} GiB" if figures["memory_gib"] else ""
    return (
        f"**{figures['name']}**{memory}: matmul {figures['matmul_flops_per_second'] / 1e12:,.1f} "
        f"TFLOP/s, copy {figures['copied_bytes_per_second'] / 1e12:,.2f} TB/s; Python "
        f"{figures['python']}, torch {figures['torch']}, transformers {figures['transformers']}, "
        f"attention {figures['attention']}"
    )


def _line(figures: dict[str, Any]) -> list[str]:
    if "not_run" in figures:
        return ["", "", "", "", f"not run: {figures['not_run']}"]
    share = figures.get("share_of_matmul", figures.get("mfu"))
    return [
        f"{figures['tokens_per_second']:,.0f}" if "tokens_per_second" in figures else "",
        "" if share is None else f"{share:.0%}",
        f"{figures['goal']:.0%}" if "goal" in figures else "",
        f"{figures['peak_gib']:,.1f}" if "peak_gib" in figures else "",
        _said(figures),
    ]


def _said(figures: dict[str, Any]) -> str:
    if "holds" in figures:
        apart, leak = figures["max_difference"], figures["max_leak"]
        verdict = "holds" if figures["holds"] else "BROKEN"
        most = figures["tolerance"]
        return f"{verdict}: logits apart by {apart:.2g} (at most {most:.2g}), leak {leak:.2g}"
    if "bitwise" in figures:
        return "bitwise" if figures["bitwise"] else f"apart by {figures['largest_difference']:.2g}"
    if "mfu_without_attention" in figures:
        without = figures["mfu_without_attention"]
        return f"{without:.0%} without attention's FLOP, {figures['attention']}"
    if "answers_at_once" in figures:
        return f"{figures['answers_at_once']} answers at once, vLLM {figures['vllm'] or 'not here'}"
    return ""
