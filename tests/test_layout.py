"""Which module may import which, and the name `ast`."""

import ast
from pathlib import Path

import pytest

from paths import ROOT

SOURCES = sorted([*(ROOT / "ast").rglob("*.py"), *(ROOT / "eval").rglob("*.py")])

# Modules of voxlate that each of its packages and top-level modules may import, besides itself.
_BASE = {"bundled", "errors", "files", "json_files", "languages", "published_checkpoints", "registry", "text"}
MAY_IMPORT = {
    "bundled": set[str](),
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
    "process_messages": {"files"},
    "processes": {"errors", "process_messages"},
    "config": {"bundled", "errors", "languages"},
    "manifest": {"errors", "files", "languages"},
    "audio": {"bundled", "errors", "files", "languages", "processes"},
    "corpora": _BASE | {"audio", "manifest", "processes", "progress"},
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
    | {"audio", "checkpoints", "config", "corpora", "decoding", "hardware", "manifest", "progress", "search_options"}
    | {"__init__"},
    "serving": _BASE | {"audio", "checkpoints", "decoding", "models", "processes", "search_options"},
    "doctor": {"audio", "errors", "hardware", "published_checkpoints", "__init__"},
    "cli": _BASE
    | {"doctor"}
    | {"audio", "checkpoints", "config", "corpora", "decoding", "evaluation", "hardware", "models", "processes"}
    | {"progress", "search_options", "serving", "training", "__init__"},
    "__main__": {"cli"},
    "__init__": {"audio", "decoding", "errors", "manifest", "search_options"},
}
# Packages that use the scorer: for dev BLEU, the commands, the rule by which CTC splits words, the limits of subtitles.
_SCORES = ("training", "evaluation", "cli", "data", "decoding")
# Light packages, which a command can import before it knows whether it needs torch.
_LIGHT = (*sorted(_BASE), "tokenizer", "search_options", "processes", "process_messages", "cli")
MAY_NOT_IMPORT = {
    **{room: {"torch", "transformers"} for room in ("audio", "corpora", "data")},
    **{room: {"torch", "transformers", "av"} for room in ("manifest", "config", *_LIGHT)},
}
_MAKES_TENSORS = ROOT / "ast/voxlate/data/batching.py"
# The command line imports one module of models, which sets an environment variable that torch reads at import.
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
    """Return the package or top-level module of voxlate that a module belongs to."""
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
