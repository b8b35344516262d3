"""TER: translation edit rate (Snover et al. 2006), sacreBLEU's."""

from sacrebleu import TER

from voxlate_eval.metrics.sacre import SacreMetric

_ABOUT = "edits and moves in % of the reference's words; 0 is perfect, over 100 is possible, lower is better"


def make_ter(target_language: str = "", tokenize: str | None = None) -> SacreMetric:  # noqa: ARG001
    """Return TER as sacreBLEU's command gives it: words between spaces, in lower case. Less is better."""
    return SacreMetric("TER", TER(), _ABOUT, higher_is_better=False)
