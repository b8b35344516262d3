"""From manifests to batches of tensors: sampling, collation, augmentation."""
