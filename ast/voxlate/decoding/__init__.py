"""From utterances to text: search, scheduling, segmentation, writers."""
