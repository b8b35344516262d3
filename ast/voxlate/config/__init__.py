"""The settings of a training run: a closed schema, YAML files based on each other, and overrides."""
