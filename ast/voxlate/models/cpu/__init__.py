"""The fast CPU path: `install.install_cpu_path` is its switch; without it, models run in plain PyTorch."""
