"""Tables as Markdown."""

from formats.pages import markdown_table


def test_a_cell_cannot_end_its_row() -> None:
    assert markdown_table(["a"], [["x|y\nz"]]) == "| a |\n|---|\n| x\\|y z |"
