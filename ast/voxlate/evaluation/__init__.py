"""From a model and manifests to hypotheses, and from those to scores and reports (`voxlate_eval`)."""
