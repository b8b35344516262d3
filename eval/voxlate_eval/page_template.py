"""Render the pages: templates of the folder page, with its style sheet."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_PAGE = Path(__file__).parent / "page"


def render_page(template: str, **values: Any) -> str:
    """Return a self-contained page. All values are escaped, except for Markup."""
    environment = Environment(
        loader=PackageLoader("voxlate_eval", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(css=page_file("report.css"), **values)


def page_file(name: str) -> Markup:
    """Return one of our own style sheets or scripts as it is."""
    return Markup((_PAGE / name).read_text(encoding="utf-8"))  # noqa: S704
