"""From a configuration and manifests to trained models: the loop, and what it stands on."""
