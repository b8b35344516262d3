"""A new model from a pretrained speech encoder and an mBART checkpoint has the weights of both."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import SpeechEncoderDecoderModel, Wav2Vec2ForPreTraining, Wav2Vec2Model

from model_files import retouch
from parity import TOKENS, logits, same, their_logits
from tiny import VOCABULARY, waveforms, write_encoder, write_mbart
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint, save_checkpoint
from voxlate.checkpoints.new_adapter import AdapterSettings
from voxlate.checkpoints.warm_start import start_model
from voxlate.data.batching import collate_waveforms
from voxlate.errors import VoxlateError


def start(tmp_path: Path, vocabulary: Path, kind: Any) -> tuple[Checkpoint, Any, Any]:
    speech, text = write_encoder(tmp_path / "encoder", kind), write_mbart(tmp_path / "mbart", vocabulary)
    return start_model(tmp_path / "encoder", tmp_path / "mbart"), speech, text


@pytest.mark.parametrize("kind", [Wav2Vec2Model, Wav2Vec2ForPreTraining])
@torch.inference_mode()
def test_a_new_model_has_the_weights_of_both(tmp_path: Path, vocabulary: Path, kind: Any) -> None:
    checkpoint, speech, text = start(tmp_path, vocabulary, kind)
    model = checkpoint.model.eval()
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, 1.3), normalize=True)
    states_BSD, lengths = model.encoder(waveform_BT, lengths_B)
    expected = getattr(speech, "wav2vec2", speech)(waveform_BT).last_hidden_state
    same(states_BSD, expected)
    # transformers 5 only saves `model.shared`, which must become the decoder's embeddings.
    assert "model.shared.weight" in load_file(tmp_path / "mbart" / "model.safetensors")
    states_USD, lengths_U = model.adapter(states_BSD, lengths)
    found = model.decoder.logits(model.decoder(TOKENS, model.decoder.cross_attention_cache(states_USD, lengths_U)))
    decoded = text.model.decoder(input_ids=TOKENS, encoder_hidden_states=states_USD).last_hidden_state
    same(found, text.lm_head(decoded))


def test_a_new_model_saves_and_loads(tmp_path: Path, vocabulary: Path) -> None:
    checkpoint, _, _ = start(tmp_path, vocabulary, Wav2Vec2ForPreTraining)
    save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    same(logits(load_checkpoint(tmp_path / "new").model), logits(checkpoint.model.eval()))
    same(
        their_logits(SpeechEncoderDecoderModel.from_pretrained(tmp_path / "new").eval()),
        logits(checkpoint.model.eval()),
    )


def test_checkpoints_that_do_not_fit_together(tmp_path: Path, vocabulary: Path) -> None:
    write_encoder(tmp_path / "encoder", Wav2Vec2Model)
    write_mbart(tmp_path / "mbart", vocabulary)
    with pytest.raises(VoxlateError, match="a 'wav2vec2' model, expected 'mbart'"):
        start_model(tmp_path / "encoder", tmp_path / "encoder")
    with pytest.raises(VoxlateError, match="unknown speech encoder 'mbart'"):
        start_model(tmp_path / "mbart", tmp_path / "mbart")
    with pytest.raises(VoxlateError, match="adapter_layers is 0"):
        start_model(tmp_path / "encoder", tmp_path / "mbart", adapter=AdapterSettings(layers=0))
    retouch(tmp_path / "mbart", lambda tensors: tensors | {"lm_head.weight": torch.ones(VOCABULARY, 32)})
    with pytest.raises(VoxlateError, match="input and output embeddings differ"):
        start_model(tmp_path / "encoder", tmp_path / "mbart")
