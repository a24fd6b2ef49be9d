"""docs/reference: every asset, table, setting and check, written from the code that defines them.

`python -m tools.reference` (`make reference`) writes the pages; tests/test_reference.py fails
when they are out of step.
"""
