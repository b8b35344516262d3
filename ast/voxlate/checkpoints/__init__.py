"""Models from files and back: the Hub, transformers folders, fairseq checkpoints, warm starts, vocabulary trimming."""
