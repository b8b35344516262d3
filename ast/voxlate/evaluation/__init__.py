"""Evaluation: from a model and test sets to hypotheses, and from those to scores (by `voxlate_eval`)."""
