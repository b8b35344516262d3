"""Large tensors in large pages."""

import os


def ask_for_huge_pages() -> None:
    """Let torch ask the kernel for pages of 2 MiB (Linux). Call it before torch is loaded; the user's word stands.

    The C library maps every tensor of more than 32 MiB anew and unmaps it afterwards. In pages of 4 KiB the kernel
    clears a gradient of the vocabulary's embedding in 250,000 steps, at every update.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
