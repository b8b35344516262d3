"""`voxlate models`: its tables, the description of a model, and the same tables in the documentation."""

import pytest

from documentation import read, run
from voxlate.errors import VoxlateError
from voxlate.evaluation.model_list import ROLES, markdown_table
from voxlate.published_models import published_models


def test_every_model_is_listed_under_its_role() -> None:
    result = run("voxlate models")
    assert result.exit_code == 0
    tables = result.stdout.split("\n\n")
    for table, (role, title) in zip(tables, ROLES.items(), strict=False):
        heading, _, *rows = table.splitlines()
        assert heading == f"{title}:"
        assert [row.split()[0] for row in rows] == [
            model.name for model in published_models().values() if model.role == role
        ]
    [row] = [row for row in tables[0].splitlines() if row.startswith("xls-r-300m-en-to-15")]
    assert row.split() == [
        *("xls-r-300m-en-to-15", "facebook/wav2vec2-xls-r-300m-en-to-15", "en", "15", "793", "M", "3.17", "GB"),
        *("3.2", "/", "1.6", "GB", "Apache-2.0", "23.2", "en→X"),
    ]
    assert "voxlate models NAME" in tables[-1]


def test_a_model_is_described_with_the_source_of_its_bleu() -> None:
    lines = run("voxlate models facebook/wav2vec2-xls-r-300m-21-to-en").stdout.splitlines()
    assert lines[0] == "xls-r-300m-21-to-en"
    found = {line[2:12].strip(): line[14:] for line in lines[1:]}
    assert found["parameters"] == "792,989,312"
    assert found["speech"].startswith("21 languages: ar ca cy de ")
    assert found["text"] == "English (en)"
    assert found["BLEU"] == "13.2 X→en"
    assert found["source"].startswith('"XLS-R (0.3B)" of voxlate published: XLS-R arXiv:2111.09296 full X->En table')
    assert "source" not in run("voxlate models XLS-R-300m").stdout


def test_an_unknown_model_is_refused_with_a_suggestion() -> None:
    with pytest.raises(VoxlateError, match=r"unknown published model 'w2v-bert'; did you mean 'w2v-bert-2.0'\?"):
        run("voxlate models w2v-bert")


@pytest.mark.parametrize(
    ("page", "role"),
    [("README.md", "translation"), *(("docs/models.md", role) for role in ROLES)],
)
def test_the_documentation_has_the_same_tables(page: str, role: str) -> None:
    assert f"\n\n{markdown_table(role)}\n\n" in read(page), f"replace the table of {page} by:\n{markdown_table(role)}"
