"""From manifests to batches of tensors: corpus, batch sampler, augmentation, padding."""
