"""The command ``voxlate doctor``."""

EXAMPLE = "voxlate doctor"


def doctor() -> int:
    """Show versions and device; check the audio decoder."""
    from voxlate.doctor import run

    return run()
