"""Networks: tensors and lengths in, tensors and lengths out.

`ENCODERS` and `DECODERS` map the `model_type` of a transformers config to our class of a speech encoder or a text
decoder, `ADAPTERS` the name of a kind of length adapter to its class.
"""

ADAPTERS = {
    "conformer": "voxlate.models.conformer_adapter:ConformerAdapter",
    "strided": "voxlate.models.adapter:LengthAdapter",
}

DECODERS = {
    "m2m_100": "voxlate.models.m2m100:M2M100Decoder",
    "mbart": "voxlate.models.mbart:MBartDecoder",
}

ENCODERS = {
    "hubert": "voxlate.models.hubert:HubertEncoder",
    "wav2vec2": "voxlate.models.wav2vec2:Wav2Vec2Encoder",
    "wav2vec2-bert": "voxlate.models.w2vbert:Wav2Vec2BertEncoder",
    "wavlm": "voxlate.models.wavlm:WavLMEncoder",
}
