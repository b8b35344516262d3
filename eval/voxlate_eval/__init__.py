"""Scores of translations computed from text alone: no model, no audio, no torch."""


class EvaluationError(ValueError):
    """A problem that the user can solve. The message states what was found, what was expected and what to do."""
