"""TER: translation edit rate (Snover et al. 2006), sacreBLEU's."""

from sacrebleu import TER

from voxlate_eval.metrics.sacre import SacreMetric


def make_ter(target_language: str = "", tokenize: str | None = None) -> SacreMetric:  # noqa: ARG001
    """Return TER as sacreBLEU's command gives it: words between spaces, in lower case. Less is better."""
    return SacreMetric("TER", TER(), higher_is_better=False)
