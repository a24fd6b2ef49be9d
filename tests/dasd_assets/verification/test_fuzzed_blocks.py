"""The code of an answer, whatever stands around it: found as it was written, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dasd_assets.verification.programs import LANGUAGES, NO_PROGRAMS, last_code_block

FUZZ = settings(deadline=None, max_examples=300, derandomize=True, database=None)

LINES = [
    "```", "````", "~~~", "```python", "```text", "~~~py", "   ```", "    ```python", "``` `x`",
    "> ```python", "> ", ">", "- ```py", "1. ", "  ", "\t```", "x = 1", "    x", "", "<pre>",
    "</pre>", "<!--", "-->", "[a]: b", "# a", "---", "* * *", "|a|b|", "\x00", "\u2028```",
    "\x0b", "```python\r",
]  # fmt: skip


@FUZZ
@given(st.lists(st.sampled_from(LINES), max_size=14).map("\n".join))
@example('```python\nx = "```"\nprint(x)\n```')
@example(">" * 2_000 + "```python\na\n```")
@example("- " * 500 + "```python\na\n```")
@example("```python\na\n```\nthen ```")
@example("[" * 3_000)
@example("`" * 3_000 + "python\na\n" + "`" * 3_000)
def test_fuzz_any_lines(text: str) -> None:
    code = last_code_block(text)
    if code is None:
        return
    # Each line of it stands in the answer, in this order; containers take some of the margin.
    written = iter(text.replace("\x00", "\ufffd").replace("\r", "").split("\n"))
    for line in code.split("\n"):
        assert any(each.expandtabs().endswith(line.expandtabs()) for each in written), line


@dataclass(frozen=True)
class Block:
    """A block of code, in quotations or with a margin."""

    fence: str
    tag: str
    code: str
    margin: str

    @property
    def text(self) -> str:
        lines = [self.fence + self.tag, *self.code.split("\n"), self.fence]
        return "\n".join((self.margin + line).rstrip() for line in lines)


CODE = st.lists(
    st.sampled_from(["x = 1", "    return x", 'print("```")', "'''", "# a", "> b", "- c", "~"]),
    min_size=1, max_size=4,
).map(lambda lines: "\n".join(["a", *lines]))  # fmt: skip
BLOCKS = st.builds(
    Block,
    fence=st.sampled_from(["```", "````", "~~~"]),
    tag=st.sampled_from([*sorted(LANGUAGES), *sorted(NO_PROGRAMS), "cpp", "Python", "{.python}"]),
    code=CODE,
    margin=st.sampled_from(["", "  ", "> ", "> > "]),
)
PROSE = st.sampled_from(
    ["So:", "Then `x`.", "# Faster", "1 < 2 > 0", "<answer>", "</answer>", "$x$", "| a | b |"]
)


@FUZZ
@given(st.lists(st.tuples(PROSE, BLOCKS), max_size=5), PROSE)
def test_fuzz_blocks_that_are_written_well(parts: list[tuple[str, Block]], end: str) -> None:
    text = "\n\n".join([*(f"{prose}\n\n{block.text}" for prose, block in parts), end])
    assert last_code_block(text) == expected([block for _, block in parts])


def expected(blocks: list[Block]) -> str | None:
    """The rule, said of blocks that are known."""
    untagged = None
    for block in reversed(blocks):
        tag = block.tag.lower().strip("{.}")
        if tag in LANGUAGES:
            return block.code
        if tag not in NO_PROGRAMS:
            return None
        if not tag and untagged is None:
            untagged = block.code
    return untagged
