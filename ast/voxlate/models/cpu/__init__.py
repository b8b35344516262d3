"""The fast CPU path: `install.install_cpu_path` enables it; otherwise models run in plain PyTorch."""
