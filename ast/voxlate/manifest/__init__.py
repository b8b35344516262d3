"""Manifests: utterances in jsonl, tsv, csv or parquet files, read, checked and written."""
