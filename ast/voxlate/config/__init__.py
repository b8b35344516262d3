"""Settings of a training run: a closed schema, YAML files that build on each other, and command-line overrides."""
