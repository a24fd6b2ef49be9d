"""A row that cannot be used."""


class UnusableRowError(ValueError):
    """A row that goes to quarantine: one reason code, and what was found."""

    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence
