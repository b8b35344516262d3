"""Decode audio into text: search, batches of segments, results and their files."""
