"""MkDocs hook: adds generated pages, and pages from outside docs/, and adapts links between them."""

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("ast", "eval", "docs")]

from site_generator.command_line import command_line_page  # noqa: E402
from site_generator.python_api import python_page  # noqa: E402
from site_generator.setting_reference import settings_page  # noqa: E402

GENERATED = {
    "reference/command_line.md": command_line_page,
    "reference/settings.md": settings_page,
    "reference/python.md": python_page,
}
# Files outside docs/, by their names on the site.
INCLUDED = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "scoring.md": "eval/README.md",
    "benchmarks.md": "eval/speed/README.md",
    "published_scores.md": "eval/voxlate_eval/published/README.md",
    "recipes/covost2.md": "recipes/covost2/README.md",
    "recipes/scaling.md": "recipes/covost2/scaling.md",
    "recipes/demo.md": "recipes/demo/README.md",
    "recipes/demo_model.md": "recipes/demo/model/README.md",
    "recipes/demo_report.html": "recipes/demo/report/report.html",
    "recipes/distillation.md": "recipes/distillation/README.md",
}
_PAGES = {"README.md": "index.md", **{source: page for page, source in INCLUDED.items()}}
_CODE_OR_LINK = re.compile(
    r"(?P<code>^ *```.*?^ *```$|`[^`\n]*`(?!\]))|\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/ (an event of MkDocs)."""
    for name, make_page in GENERATED.items():
        files.append(File.generated(config, name, content=make_page()))
    for name, source in INCLUDED.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page with links that work on the site (an event of MkDocs)."""
    return site_links(markdown, page.file.src_uri)


def site_links(markdown: str, page: str) -> str:
    """Replace links of a page to files of the repository by links within the site, or by the file's path."""
    folder = PurePosixPath(INCLUDED.get(page, f"docs/{page}")).parent

    def replace(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        if match["code"] or re.match(r"[a-z]+:|#", target):
            return match[0]
        name, hash_mark, anchor = target.partition("#")
        path = os.path.normpath(folder / name)
        if path in _PAGES or (path.startswith("docs/") and path.endswith(".md")):
            found = _PAGES.get(path, path.removeprefix("docs/"))
            return f"[{text}]({os.path.relpath(found, PurePosixPath(page).parent)}{hash_mark}{anchor})"
        shown = text.strip("`").replace("\\", "")
        return f"`{path}`" if path.endswith(shown) else f"{text} (`{path}`)"

    return _CODE_OR_LINK.sub(replace, markdown)
