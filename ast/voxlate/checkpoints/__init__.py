"""Read, convert and write models: the Hub, transformers folders, fairseq checkpoints, warm starts, trimming."""
