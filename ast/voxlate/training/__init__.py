"""Training: the loop in train.py, with its setup, checkpoints, validation and logging."""
