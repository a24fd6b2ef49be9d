"""What this process is."""

is_a_command = False
"""Of `dasd`: somebody waits for its answer. Set by the command line; a fork inherits it."""
