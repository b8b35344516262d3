"""From corpora and audio files to batches."""

# What `voxlate prepare` prepares: each takes its own kind of Preparation and returns an exit code.
CORPORA = {
    "covost2": "voxlate.data.covost2:prepare",
    "manifest": "voxlate.data.user_table:prepare",
    "parquet": "voxlate.data.mirror:prepare",
}
# What makes a corpus for one of them to prepare.
MAKERS = {
    "spoken": "voxlate.data.spoken:prepare",
}
