"""From corpora and audio files to batches."""
