"""The thread of a model: what it loads, and when."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.decoding.results import Segment
from voxlate.serving.model_host import ModelHost
from voxlate.serving.request_stream import AudioRequest, RequestDone, RequestFailed

REQUEST = AudioRequest(Path("a.wav"), "model", target_language="de")


class InstantModel:
    """Finishes each request when it joins, so that it has none most of the time."""

    targets = ("de",)
    can_transcribe = False

    def __len__(self) -> int:
        return 0

    def join(self, number: int, audio: DecodedAudio, request: AudioRequest) -> Iterator[tuple[int, RequestDone]]:
        yield number, RequestDone(1.0, request.target_language)


def test_a_model_that_has_nothing_to_do_stays_loaded() -> None:
    loaded: list[InstantModel] = []
    ended: list[int] = []
    changed = threading.Condition()

    def load(_: Callable[[int, Segment], None]) -> Any:
        loaded.append(InstantModel())
        return loaded[-1]

    def end(number: int, _: RequestDone | RequestFailed) -> None:
        with changed:
            ended.append(number)
            changed.notify()

    host = ModelHost("model", load, on_segment=lambda *_: None, on_end=end)
    host.start()
    for number in range(3):
        host.put(number, cast("DecodedAudio", None), REQUEST)
        with changed:
            assert changed.wait_for(partial(ended.__contains__, number), 20)
    host.close(20)
    assert ended == [0, 1, 2]
    assert len(loaded) == 1
