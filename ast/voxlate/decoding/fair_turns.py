"""Take segments of many inputs in turns, so that a long input does not hold up short ones."""

from collections.abc import Iterator
from dataclasses import dataclass

from voxlate.decoding.schedule import AudioSegment


@dataclass
class _Turn:
    """The next segment of an input, those after it, when it is due, and how many have been taken."""

    due: float
    segment: AudioSegment
    others: Iterator[AudioSegment]
    taken: int = 0


class FairTurns:
    """Inputs whose segments wait for the model. All inputs get the same number of seconds of audio in a while.

    A new input is due at once, and inputs that have had less for a while do not catch up. The clock is the virtual time
    of weighted fair queueing, which runs slower the more inputs wait (Demers, Keshav and Shenker, "Analysis and
    simulation of a fair queueing algorithm", SIGCOMM 1989), in seconds of audio.
    """

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}  # by the index of the input
        self._now = 0.0

    def __len__(self) -> int:
        """Return the number of inputs that have segments left."""
        return len(self._turns)

    def add(self, index: int, segments: Iterator[AudioSegment]) -> None:
        """Add an input. Its segments are cut when they are needed, the first one at once."""
        first = next(segments, None)
        if first is not None:
            self._turns[index] = _Turn(self._now, first, segments)

    def take(self, count: int, seconds: float) -> list[AudioSegment]:
        """Remove and return up to `count` segments of about `seconds` in total; none if no input has any."""
        taken: list[AudioSegment] = []
        while self._turns and len(taken) < count and seconds > 0:
            index, turn = min(self._turns.items(), key=lambda item: (item[1].due, item[1].taken))
            taken.append(turn.segment)
            seconds -= turn.segment.seconds
            self._now += turn.segment.seconds / len(self._turns)
            turn.due += turn.segment.seconds
            turn.taken += 1
            following = next(turn.others, None)
            if following is None:
                del self._turns[index]
            else:
                turn.segment = following
        return taken

    def drop(self, index: int) -> None:
        """Remove an input."""
        self._turns.pop(index, None)
