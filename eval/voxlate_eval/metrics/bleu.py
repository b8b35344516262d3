"""BLEU as the CoVoST-2 and XLS-R papers report it: sacreBLEU (Post 2018), case-sensitive, on detokenized text.

Chinese and Japanese are scored at character level, as in CoVoST-2 (Wang et al. 2020) and fairseq's
``--sacrebleu-char-level`` (fairseq issue #3814). That is neither sacreBLEU's ``zh``, which keeps Latin words and
numbers whole, nor its ``char``, which drops spaces. `voxlate_eval.policy` selects the tokenizer for each language.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu import BLEU

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import Score, Sums, corpus_score, sacrebleu_signature
from voxlate_eval.policy import CHARACTERS, choose_tokenizer

_LOG = logging.getLogger(__name__)
_INSTALL = {"ja-mecab": 'pip install "sacrebleu[ja]"', "ko-mecab": 'pip install "sacrebleu[ko]"'}
_TOKENIZED_LINES = 100  # with a space before the final period, after which sacreBLEU warns of tokenized text


@dataclass(frozen=True)
class Bleu:
    """sacreBLEU's BLEU. The sums of a sentence are hypothesis length, reference length, 4 matches and 4 totals."""

    scorer: BLEU
    tokenizer: str
    name: str = "BLEU"
    about: str = "overlap with the reference in n-grams of 1 to 4 tokens; 0 to 100, higher is better"
    higher_is_better: bool = True

    @property
    def signature(self) -> str:
        """sacreBLEU's signature, with `CHARACTERS` as the tokenizer where that is used."""
        if self.tokenizer == CHARACTERS:
            return sacrebleu_signature(self.scorer, tok=CHARACTERS)
        return sacrebleu_signature(self.scorer)

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        sources: Sequence[str],  # noqa: ARG002 (neural metrics use them)
    ) -> list[list[float]]:
        """Return the n-gram counts of each sentence, (N, 10). Warn if the hypotheses look tokenized."""
        if self.tokenizer == CHARACTERS:
            hypotheses, references = _characters(hypotheses), _characters(references)
        elif sum(text.endswith(" .") for text in hypotheses) >= _TOKENIZED_LINES:
            _LOG.warning("%d or more hypotheses end in ' .'; BLEU expects detokenized text", _TOKENIZED_LINES)
        rows: list[list[float]] = []
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            counts = self.scorer.corpus_score([hypothesis], [[reference]])
            rows.append([counts.sys_len, counts.ref_len, *counts.counts, *counts.totals])
        return rows

    def value(self, sums_K: Sums) -> float:
        """Return BLEU of summed n-gram counts, with sacreBLEU's exponential smoothing."""
        system_length, reference_length, *counts = sums_K.tolist()
        found = BLEU.compute_bleu(
            counts[:4], counts[4:], int(system_length), int(reference_length), smooth_method="exp"
        )
        return float(found.score)


def make_bleu(target_language: str, tokenize: str | None = None) -> Bleu:
    """Return BLEU with the named tokenizer, by default the policy's for the language.

    Raises EvaluationError if the tokenizer is unknown or not installed.
    """
    name = choose_tokenizer(target_language, tokenize)
    try:
        return Bleu(BLEU(tokenize="none" if name == CHARACTERS else name), name)
    except (ImportError, RuntimeError, OSError) as error:
        solution = _INSTALL.get(name, "sacreBLEU downloads its model on first use, which requires a network connection")
        raise EvaluationError(
            f"tokenizer {name} is not available ({str(error).strip().splitlines()[0]}); {solution}, or use another one"
        ) from None


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> Score:
    """Return BLEU (0 to 100) with one reference per hypothesis, in the same order.

    Raises EvaluationError if the counts differ or there are no sentences.
    """
    return corpus_score(make_bleu(target_language), hypotheses, references)


def _characters(sentences: Sequence[str]) -> list[str]:
    """Tokenize with 13a, write spaces as ▁, then make every character a token."""
    tokenize = BLEU(tokenize="13a").tokenizer
    return [" ".join(tokenize(sentence).replace(" ", "▁")) for sentence in sentences]
