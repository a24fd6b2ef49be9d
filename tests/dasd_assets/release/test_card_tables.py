"""What stands in the cards' tables is text, whoever wrote it."""

from dasd_assets.release.card_tables import counts_table


def test_a_source_of_a_drop_cannot_link_or_load_anything() -> None:
    table = counts_table("source", {"[x](javascript:alert(1))<img src=//e>|": 1, "open-r1": 2})
    assert table.splitlines()[2:] == [
        r"| \[x\]\(javascript:alert\(1\)\)&lt;img src=//e&gt;\| | 1 |",
        "| open-r1 | 2 |",
    ]
