"""Completion in the user's shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(not shutil.which("bash") or not (BIN / "voxlate").exists(), reason="needs bash")


def bash(script: str, home: Path) -> str:
    environment = os.environ | {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_completion_is_installed_in_the_home_folder_and_completes(tmp_path: Path) -> None:
    assert "completion installed" in bash("voxlate --install-completion bash; true", tmp_path)
    assert "voxlate.sh" in (tmp_path / ".bashrc").read_text()
    script = f"""
        source {tmp_path}/.bash_completions/voxlate.sh
        complete() {{ for COMP_CWORD in "${{!COMP_WORDS[@]}}"; do :; done; _voxlate_completion voxlate; }}
        COMP_WORDS=(voxlate tr); complete; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(voxlate translate --be); complete; echo "${{COMPREPLY[@]}}"
    """
    completed = bash(script, tmp_path).split("\n")[:2]
    assert completed == ["translate transcribe train train-identifier train-segmenter", "--beam-size"]
