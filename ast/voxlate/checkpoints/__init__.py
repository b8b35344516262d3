"""Files of weights to models and back: the Hub, transformers folders, fairseq, warm starts, trimming."""
