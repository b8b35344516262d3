"""Evaluate a model: translate test sets, and score the hypotheses with `voxlate_eval`."""
