"""The bundled recipes are found by their paths in any folder, unless the folder has its own."""

from pathlib import Path

import pytest

from paths import ROOT
from voxlate import load_audio
from voxlate.bundled import find_bundled
from voxlate.checkpoints.hub import find_model
from voxlate.config.schema import read_config
from voxlate.decoding.inputs import find_inputs
from voxlate.errors import AudioError, VoxlateError

CLIP = "recipes/demo/clips/fr-25.flac"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_models_clips_and_settings_are_found_in_an_empty_folder() -> None:
    assert find_model("recipes/demo/model") == ROOT / "recipes/demo/model"
    assert [item.path for item in find_inputs([CLIP]).items] == [ROOT / CLIP]
    assert len(find_inputs(["recipes/demo/clips"]).items) == 7
    assert load_audio(CLIP).seconds > 1
    assert read_config("recipes/covost2/x-en-1b.yaml").model.encoder == "facebook/wav2vec2-xls-r-1b"


def test_own_settings_can_be_based_on_bundled_ones() -> None:
    Path("mine.yaml").write_text("base: recipes/covost2/x-en-1b.yaml\noutput_dir: mine\n")
    assert read_config("mine.yaml").model.encoder == "facebook/wav2vec2-xls-r-1b"
    Path("recipes/covost2").mkdir(parents=True)
    Path("recipes/covost2/x-en-1b.yaml").write_text("model: {encoder: own/encoder, decoder: own/decoder}\n")
    with pytest.raises(VoxlateError, match="data"):  # the folder's own file, which is incomplete
        read_config("mine.yaml")
    assert find_bundled("recipes/covost2/x-en-1b.yaml") == Path("recipes/covost2/x-en-1b.yaml")


def test_other_missing_paths_stay_as_they_are() -> None:
    for path in ("recipes/none.yaml", "recipes/../ast", "other/demo", "/recipes/demo", ""):
        assert find_bundled(path) == Path(path)
    with pytest.raises(VoxlateError, match=r"recipes/none.yaml: cannot be read \(No such file"):
        read_config("recipes/none.yaml")
    with pytest.raises(AudioError, match=r"recipes/none.flac: no such file"):
        load_audio("recipes/none.flac")
