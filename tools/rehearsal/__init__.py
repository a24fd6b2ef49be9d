"""A run of paper size in rows, from an engine that makes answers up at once."""
