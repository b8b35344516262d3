"""Parts of models for GPUs: `gpu_path.install_gpu_path` enables them; otherwise models run in plain PyTorch."""
