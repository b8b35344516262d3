"""Importing voxlate and starting the command line are fast, since torch is imported only when it is needed."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=60)


def test_importing_voxlate_loads_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'av', 'numpy'} & sys.modules.keys()"
    assert run("-c", f"import sys, voxlate; print({heavy})").stdout == "set()\n"


def test_help_is_fast_and_needs_no_torch() -> None:
    for arguments, expected in ((["--help"], "translate"), (["prepare", "covost2", "--help"], "--common-voice")):
        code = f"import sys; sys.argv = {['voxlate', *arguments]}; from voxlate.cli import main"
        heavy = "{'torch', 'transformers', 'av', 'numpy', 'pyarrow', 'datasets'}"
        assert expected in run("-c", f"{code}\ntry: main()\nfinally: assert not {heavy} & sys.modules.keys()").stdout
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run("-m", "voxlate", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.5  # of CPU time, which does not depend on other processes


def test_numpy_multiplies_in_one_thread_in_commands() -> None:
    code = "import os, sys; sys.argv = ['voxlate', '--version']; from voxlate.cli import main\ntry: main()\nfinally:"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for given, expected in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        done = subprocess.run(
            [sys.executable, "-c", f"{code} print(os.environ.get('OPENBLAS_NUM_THREADS'), 'numpy' in sys.modules)"],
            capture_output=True,
            check=True,
            text=True,
            env=environment | given,
        )
        other = platform.machine().lower() not in ("x86_64", "amd64")
        assert done.stdout.splitlines()[-1] == f"{None if other and not given else expected} False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "no.wav", "--to", "en", "--model", str(ROOT)], "no.wav: no such file\n0 translated, 1 failed"),
        (["translate", __file__, "--to", "en", "--model", "nothing"], "error: model 'nothing': no such folder"),
        (["translate", __file__, "--to", "en", "--output-dir", "/dev/null/x"], "--output-dir /dev/null/x: cannot"),
        (["transcribe", __file__, "--model", "nothing"], "error: model 'nothing': no such folder"),
        (["serve", "--model", "nothing"], "error: model 'nothing': no such folder"),
        (["evaluate", "--model", "nothing", "--data", "no.tsv", "--output", "x"], "no.tsv: cannot be read"),
    ],
)  # fmt: skip
def test_errors_are_reported_before_torch_is_imported(tmp_path: Path, arguments: list[str], message: str) -> None:
    code = (
        f"import sys; sys.argv = {['voxlate', *arguments]}; from voxlate.cli import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert message in result.stderr
    assert result.stdout in ("1 False\n", "2 False\n")


def test_public_names_resolve() -> None:
    import voxlate

    names = [
        "Translator",
        "Transcriber",
        "Identifier",
        "Translation",
        "Segment",
        "SearchOptions",
        "SubtitleOptions",
        "VoxlateError",
        "AudioError",
        "SegmentationOptions",
        "load_audio",
        "read_manifest",
        "write_manifest",
        "write_txt",
        "write_tsv",
        "write_ass",
        "write_json",
        "write_srt",
        "write_vtt",
    ]
    assert {*voxlate.__all__} == {*names, "__version__"}
    assert {name: getattr(voxlate, name).__name__ for name in names} == {name: name for name in names}
    assert {*names} <= {*dir(voxlate)}
    with pytest.raises(AttributeError, match="module 'voxlate' has no attribute 'Nothing'"):
        _ = voxlate.Nothing
