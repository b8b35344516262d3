"""Scores of translations from their text alone: no model, no audio, no torch."""
