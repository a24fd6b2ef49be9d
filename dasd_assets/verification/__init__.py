"""Is an answer right: what the graders of the domains are made of."""
