from pathlib import Path

import pytest

from voxlate.errors import VoxlateError
from voxlate.registry import resolve


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    assert resolve({"path": "pathlib:Path"}, "path", "thing") is Path
    with pytest.raises(VoxlateError, match="unknown thing 'pth'; did you mean 'path'"):
        resolve({"path": "pathlib:Path"}, "pth", "thing")
    with pytest.raises(VoxlateError, match="unknown thing 'x'; known: path"):
        resolve({"path": "pathlib:Path"}, "x", "thing")
