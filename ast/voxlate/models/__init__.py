"""Networks: tensors and lengths in, tensors and lengths out.

`ENCODERS` maps the `model_type` of a speech encoder's transformers config to our class.
"""

ENCODERS = {
    "hubert": "voxlate.models.hubert:HubertEncoder",
    "wav2vec2": "voxlate.models.wav2vec2:Wav2Vec2Encoder",
    "wav2vec2-bert": "voxlate.models.w2vbert:Wav2Vec2BertEncoder",
    "wavlm": "voxlate.models.wavlm:WavLMEncoder",
}
