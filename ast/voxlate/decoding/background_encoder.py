"""Encode the next segments on a stream of their own, while a GPU searches the last ones."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from voxlate.data.batching import collate_waveforms
from voxlate.hardware import without_cudnn_attention
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.encoder import on_device
from voxlate.models.speech_translator import SpeechTranslator

Encoded = Callable[[], CrossAttentionCache]


class BackgroundEncoder:
    """Encodes batches of waveforms. A CPU has nothing to gain, and encodes a batch when its result is needed."""

    def __init__(self, model: SpeechTranslator) -> None:
        self._model = model
        self._stream: torch.cuda.Stream | None = None
        if model.device.type == "cuda":
            self._stream = torch.cuda.Stream(model.device)  # type: ignore[no-untyped-call]

    @property
    def works_ahead(self) -> bool:
        """Whether a batch is encoded as soon as it is started."""
        return self._stream is not None

    def start(self, waveforms: Sequence[Tensor]) -> Encoded:
        """Begin to encode waveforms, (T,) each; return a function that gives their cross-attention cache."""
        if self._stream is None:
            return cache(partial(self._encode, waveforms))
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            encoded = self._encode(waveforms)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()

        def wait() -> CrossAttentionCache:
            """Let the current stream, not the host, wait for the cache."""
            current = torch.cuda.current_stream()
            current.wait_event(event)
            for tensor in encoded.tensors:
                tensor.record_stream(current)  # its memory is not used again before this stream is done with it
            return encoded

        return wait

    @torch.inference_mode()
    @without_cudnn_attention()
    def _encode(self, waveforms: Sequence[Tensor]) -> CrossAttentionCache:
        waveform_BT, lengths_B = collate_waveforms(waveforms, normalize=self._model.encoder.normalize_waveform)
        device = self._model.device
        return self._model.cross_attention_cache(on_device(waveform_BT, device), lengths_B)
