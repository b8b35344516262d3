"""What holds the house together: who may import whom, the name `ast`, a fast `--help`, files of readable size."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paths import ROOT

SOURCES = sorted([*(ROOT / "ast").rglob("*.py"), *(ROOT / "eval").rglob("*.py")])

# Modules of voxlate that each of its packages and top-level modules may import, besides itself.
_BASE = {"errors", "files", "json_files", "languages", "published_checkpoints", "registry", "text"}
MAY_IMPORT = {
    "errors": set[str](),
    "files": set[str](),
    "registry": {"errors"},
    "languages": {"errors"},
    "published_checkpoints": {"errors", "languages"},
    "text": {"errors", "languages"},
    "json_files": {"errors", "files"},
    "tokenizer": {"errors", "json_files", "languages"},
    "deprecation": set[str](),
    "search_options": {"deprecation", "errors"},
    "hardware": {"errors"},
    "progress": set[str](),
    "provenance": {"files"},
    "config": {"errors", "languages"},
    "manifest": {"errors", "files", "languages"},
    "audio": {"errors", "files", "languages"},
    "corpora": _BASE | {"audio", "manifest", "progress"},
    "data": _BASE | {"audio", "manifest", "tokenizer"},
    "models": {"errors", "tokenizer"},
    "checkpoints": _BASE | {"manifest", "models", "search_options", "tokenizer"},
    "decoding": _BASE
    | {"audio", "checkpoints", "data", "hardware", "models", "progress", "provenance", "search_options", "tokenizer"}
    | {"deprecation", "__init__"},
    "training": _BASE
    | {"audio", "checkpoints", "config", "data", "decoding", "hardware", "manifest", "models", "progress"}
    | {"search_options", "tokenizer", "__init__"},
    "evaluation": _BASE
    | {"audio", "checkpoints", "corpora", "decoding", "hardware", "manifest", "progress", "search_options"},
    "doctor": {"audio", "errors", "hardware", "published_checkpoints", "__init__"},
    "cli": _BASE
    | {"doctor"}
    | {"audio", "checkpoints", "config", "corpora", "decoding", "evaluation", "hardware", "models", "search_options"}
    | {"training", "__init__"},
    "__main__": {"cli"},
    "__init__": {"audio", "decoding", "errors", "manifest", "search_options"},
}
# What uses the scorer: dev BLEU and the commands (there is one BLEU in the repository), CTC its rule for words.
_SCORES = ("training", "evaluation", "cli", "data")
# Light packages, that a command can import before it knows whether it needs torch.
_LIGHT = (*sorted(_BASE), "tokenizer", "search_options", "cli")
MAY_NOT_IMPORT = {
    **{room: {"torch", "transformers"} for room in ("audio", "corpora", "data")},
    **{room: {"torch", "transformers", "av"} for room in ("manifest", "config", *_LIGHT)},
}
_MAKES_TENSORS = ROOT / "ast/voxlate/data/batching.py"
# The command line imports one module of models: it sets what torch reads when it is loaded.
_WITHOUT_TORCH = ("models/cpu/__init__.py", "models/cpu/malloc.py", "checkpoints/hub.py", "checkpoints/shortlist.py")


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, at any depth, in full."""
    found: set[str | None] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update({node.module} if node.module != "voxlate" else {f"voxlate.{a.name}" for a in node.names})
    return {name for name in found if name}


def room(module: str) -> str:
    """Return the first part of a module of voxlate; names of the package itself live in __init__."""
    name = module.split(".")[1] if "." in module else "__init__"
    return name if (ROOT / "ast/voxlate" / name).is_dir() or (ROOT / f"ast/voxlate/{name}.py").exists() else "__init__"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers(path: Path) -> None:
    modules = imports(path)
    parts = path.relative_to(ROOT).parts
    if parts[:2] == ("eval", "voxlate_eval"):
        assert not {name for name in modules if name.split(".")[0] in {"torch", "voxlate"}}
    elif parts[0] == "ast":
        own = parts[2].removesuffix(".py")
        rooms = {room(name) for name in modules if name.split(".")[0] == "voxlate"}
        assert rooms <= MAY_IMPORT[own] | {own}
        libraries = {name.split(".")[0] for name in modules}
        if path != _MAKES_TENSORS:
            assert not libraries & MAY_NOT_IMPORT.get(own, set())
        if path.relative_to(ROOT / "ast/voxlate").as_posix() in _WITHOUT_TORCH:
            assert not libraries & {"torch", "transformers"}
        assert own in _SCORES or "voxlate_eval" not in {name.split(".")[0] for name in modules}


def test_the_standard_librarys_ast_is_not_hidden() -> None:
    assert not list((ROOT / "ast").glob("*.py"))
    assert not list((ROOT / "eval").glob("*.py"))
    assert "voxlate" not in str(ast.__file__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 350
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{node.name}: {length} lines"


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
        started = time.perf_counter()
        run("-m", "voxlate", "--help")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "no.wav", "--to", "en", "--model", str(ROOT)], "no.wav: no such file\n0 translated, 1 failed"),
        (["translate", __file__, "--to", "en", "--model", "nothing"], "error: model 'nothing': no such folder"),
        (["translate", __file__, "--to", "en", "--output-dir", "/dev/null/x"], "--output-dir /dev/null/x: cannot"),
        (["transcribe", __file__, "--model", "nothing"], "error: model 'nothing': no such folder"),
        (["evaluate", "--model", "nothing", "--data", "no.tsv", "--output", "x"], "no.tsv: cannot be read"),
    ],
)  # fmt: skip
def test_mistakes_are_answered_without_torch(tmp_path: Path, arguments: list[str], message: str) -> None:
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
        "VoxlateError",
        "AudioError",
        "load_audio",
        "read_manifest",
        "write_manifest",
        "write_txt",
        "write_tsv",
        "write_json",
        "write_srt",
        "write_vtt",
    ]
    assert {*voxlate.__all__} == {*names, "__version__"}
    assert {name: getattr(voxlate, name).__name__ for name in names} == {name: name for name in names}
    assert {*names} <= {*dir(voxlate)}
    with pytest.raises(AttributeError, match="module 'voxlate' has no attribute 'Nothing'"):
        _ = voxlate.Nothing


def test_the_registry_suggests() -> None:
    from voxlate.errors import VoxlateError
    from voxlate.registry import resolve

    assert resolve({"path": "pathlib:Path"}, "path", "thing") is Path
    with pytest.raises(VoxlateError, match="unknown thing 'pth'; did you mean 'path'"):
        resolve({"path": "pathlib:Path"}, "pth", "thing")
    with pytest.raises(VoxlateError, match="unknown thing 'x'; known: path"):
        resolve({"path": "pathlib:Path"}, "x", "thing")


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    from voxlate.files import atomic_file, write_text

    target = tmp_path / "new" / "result.txt"
    write_text(target, "first\n")
    assert target.read_bytes() == b"first\n"
    with pytest.raises(ZeroDivisionError), atomic_file(target) as part:
        part.write_text(f"half {1 / 0}")
    assert target.read_text() == "first\n"
    assert [path.name for path in target.parent.iterdir()] == ["result.txt"]


def test_the_commit_that_runs_is_known(tmp_path: Path) -> None:
    from voxlate.provenance import checked_out_commit

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "voxlate"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git("init", "-q")
    assert checked_out_commit(package) is None  # there is no commit yet
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-qm", "other")
    assert checked_out_commit(package) is None  # installed inside another project's working tree
    git("add", "voxlate")
    git("commit", "-qm", "first")
    assert checked_out_commit(package) == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("x = 1\n")
    assert checked_out_commit(package) == git("rev-parse", "HEAD") + "+"
