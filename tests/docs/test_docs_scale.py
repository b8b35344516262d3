"""The commands of docs/scale.md run on the demo model; what they have in common is that none does anything twice."""

import re
import shutil
from pathlib import Path

import pytest

from documentation import blocks, commands, run
from paths import DEMO

PAGE = "docs/scale.md"


def test_all_commands_find_the_results_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DEMO / "model", "my-model")
    Path("archive").mkdir()
    shutil.copy(DEMO / "clips/en-63.flac", "archive")
    launched = re.findall(r"-m (voxlate .*?)'?$", "".join(blocks(PAGE, "bash")), re.MULTILINE)
    first, *others = [command for command in commands(PAGE) + launched if command.startswith("voxlate translate")]
    assert len(others) == 4
    assert {command.partition(" --ray")[0] for command in others} == {first}
    assert "1 translated, 0 failed; wrote translated/archive/en-63.flac.de.txt" in run(first).stderr
    for command in others:
        assert "0 translated, 0 failed, 1 already done" in run(command).stderr
