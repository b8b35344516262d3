"""The table of published models: what it says is true of the code, and its short names work where models do."""

import logging
import re
from pathlib import Path

import pytest

from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.seamless import MODEL_TYPE
from voxlate.errors import VoxlateError
from voxlate.languages import COVOST2_SOURCES, COVOST2_TARGETS, find_language
from voxlate.models import DECODERS, ENCODERS
from voxlate.published_checkpoints import PUBLISHED_TARGETS, published_sources
from voxlate.published_models import PublishedModel, find_published, hub_id, published_models
from voxlate_eval.published import find_system
from voxlate_eval.published_list import describe_averages

MODELS = published_models()
LOADED = {  # role: model types that the code loads
    "translation": {"speech-encoder-decoder", MODEL_TYPE},
    "encoder": {*ENCODERS, "fairseq2"},
    "decoder": {*DECODERS},
}


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_row_is_one_that_the_code_loads(model: PublishedModel) -> None:
    assert model.model_type in LOADED[model.role]
    assert model.name == model.name.lower()
    assert len(model.hub_id.split("/")) == 2
    assert model.download_gb > 0.99 * model.parameters * 4 / 1e9
    for languages in (model.speech, model.text):
        if not isinstance(languages, int):
            assert [find_language(code).code for code in languages] == [*languages]
            assert len({*languages}) == len(languages)
    if model.role == "translation":
        assert model.speech
        assert model.text
    if model.system is not None:
        assert re.match(r"\d+\.\d (X→en|en→X)", describe_averages(find_system(model.system)))


def test_the_published_checkpoints_are_those_whose_tokens_are_known() -> None:
    rows = {model.hub_id: model for model in MODELS.values() if model.model_type == "speech-encoder-decoder"}
    assert rows.keys() == PUBLISHED_TARGETS.keys()
    for name, targets in PUBLISHED_TARGETS.items():
        text = rows[name].text
        assert not isinstance(text, int)
        assert {*text} == targets.keys()
    assert {*published_sources("facebook/wav2vec2-xls-r-300m-21-to-en")} == {*COVOST2_SOURCES}
    assert {*published_sources("facebook/wav2vec2-xls-r-2b-22-to-16")} == {"en", *COVOST2_SOURCES}
    assert {*PUBLISHED_TARGETS["facebook/wav2vec2-xls-r-1b-en-to-15"]} == {*COVOST2_TARGETS}


def test_names_become_hub_ids() -> None:
    assert hub_id("xls-r-300m-21-to-en") == "facebook/wav2vec2-xls-r-300m-21-to-en"
    assert hub_id("XLS-R-300m@abc") == "facebook/wav2vec2-xls-r-300m@abc"
    assert hub_id("runs/best") == "runs/best"
    assert find_published("/models/omniASR-W2V-1B/") == MODELS["omniasr-w2v-1b"]
    assert find_published("/cache/models--facebook--w2v-bert-2.0/snapshots/abc") == MODELS["w2v-bert-2.0"]
    assert find_published("me/mine") is None


def test_a_short_name_is_looked_up_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(VoxlateError, match=r"^model facebook/wav2vec2-xls-r-300m-21-to-en is not on this machine"):
        find_model("xls-r-300m-21-to-en")
    with pytest.raises(VoxlateError, match=r"did you mean xls-r-300m-21-to-en\? voxlate models lists short names$"):
        find_model("xlsr-300m-21-to-en")
    monkeypatch.chdir(tmp_path)
    Path("xls-r-300m").mkdir()
    assert find_model("xls-r-300m") == Path("xls-r-300m")  # a folder of that name comes first


def test_a_license_that_forbids_commercial_use_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "seamless-m4t-v2-large"
    folder.mkdir()
    (tmp_path / "xls-r-300m").mkdir()
    with caplog.at_level(logging.WARNING):
        for name in (folder, tmp_path / "xls-r-300m", folder):
            find_model(name)
    assert caplog.messages == ["the license of facebook/seamless-m4t-v2-large (CC-BY-NC-4.0) forbids commercial use"]
