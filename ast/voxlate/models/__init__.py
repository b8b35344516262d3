"""Networks: tensors and lengths in, tensors and lengths out.

`ENCODERS` names the encoder class of each `model_type` that transformers gives a speech encoder's config.
"""

ENCODERS = {
    "hubert": "voxlate.models.hubert:HubertEncoder",
    "wav2vec2": "voxlate.models.wav2vec2:Wav2Vec2Encoder",
    "wav2vec2-bert": "voxlate.models.w2vbert:Wav2Vec2BertEncoder",
    "wavlm": "voxlate.models.wavlm:WavLMEncoder",
}
