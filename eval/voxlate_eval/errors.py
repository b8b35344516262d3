"""What the user of the evaluation sees as one clear line."""


class EvaluationError(ValueError):
    """A problem the user can solve: what, got, expected, what to do."""
