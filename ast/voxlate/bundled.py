"""Find the recipes that come with Voxlate: settings, the demo model and its clips."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_NAME = "recipes"


def find_bundled(path: str | os.PathLike[str]) -> Path:
    """Return `path`, or if nothing has this path and it begins with ``recipes/``, the bundled file or folder.

    So paths such as ``recipes/demo/model`` work in any folder. They are in the package if that was installed from a
    wheel, and next to the sources in a clone.
    """
    path = Path(path)
    if path.parts[:1] != (_NAME,) or ".." in path.parts or os.path.lexists(path):
        return path
    for folder in (_PACKAGE, _PACKAGE.parents[1]):
        if os.path.lexists(folder / path):
            return folder / path
    return path
