"""Whether somebody waits for this process."""

is_a_command = False
"""Of `dasd`: somebody waits for its answer. Set by the command line; a fork inherits it."""
