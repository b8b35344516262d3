"""CTC best-path decoding (Graves et al. 2006): convert label probabilities of frames to words.

Shape letters: S frames, V labels.
"""

from dataclasses import dataclass

from torch import Tensor

from voxlate.checkpoints.ctc_labels import Labels


@dataclass(frozen=True)
class AlignedWord:
    """A word, its first and last frame, and the mean log-probability of its labels."""

    text: str
    first_frame: int
    last_frame: int
    log_prob: float


def best_path(log_probs_SV: Tensor, labels: Labels) -> list[AlignedWord]:
    """Return the words of the best path: the most probable label of each frame, without repeats and blanks."""
    best_S = log_probs_SV.max(dim=1)
    words: list[AlignedWord] = []
    letters: list[tuple[str, int, int, float]] = []  # text, first and last frame, log-probability

    def end_word() -> None:
        if letters:
            text = "".join(letter[0] for letter in letters)
            text = text.lower() if labels.lower else text
            mean = sum(letter[3] for letter in letters) / len(letters)
            words.append(AlignedWord(text, letters[0][1], letters[-1][2], mean))
            letters.clear()

    previous = labels.blank
    for frame, (label, log_prob) in enumerate(zip(best_S.indices.tolist(), best_S.values.tolist(), strict=True)):
        repeated, previous = label == previous, label
        if label == labels.space:
            end_word()
        elif label != labels.blank and labels.texts[label]:
            if repeated and letters:
                letters[-1] = (letters[-1][0], letters[-1][1], frame, letters[-1][3])
            else:
                letters.append((labels.texts[label], frame, frame, log_prob))
    end_word()
    return words
