"""Corpora for `voxlate prepare`: each becomes manifests of its train, dev and test splits."""

# Corpora that `voxlate prepare` converts. Each function takes its own subclass of Preparation and returns an exit code.
CORPORA = {
    "covost2": "voxlate.corpora.covost2:prepare",
    "europarl-st": "voxlate.corpora.europarl_st:prepare",
    "fleurs": "voxlate.corpora.fleurs:prepare",
    "librispeech": "voxlate.corpora.librispeech:prepare",
    "manifest": "voxlate.corpora.user_manifest:prepare",
    "mtedx": "voxlate.corpora.mtedx:prepare",
    "must-c": "voxlate.corpora.must_c:prepare",
    "parquet": "voxlate.corpora.parquet:prepare",
}
# Commands that generate a corpus in the layout of one of the above.
MAKERS = {
    "spoken": "voxlate.corpora.spoken:prepare",
}
