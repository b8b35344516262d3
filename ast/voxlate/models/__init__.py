"""Networks: tensors and lengths in, tensors and lengths out.

`ENCODERS` names the encoder class of each `model_type` that transformers gives a speech encoder's config.
"""

ENCODERS = {"wav2vec2": "voxlate.models.wav2vec2:Wav2Vec2Encoder"}
