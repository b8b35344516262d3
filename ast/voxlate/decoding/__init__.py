"""From audio to text: search, batches of segments, results and their files."""
