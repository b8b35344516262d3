#!/usr/bin/env bash
# Train a tiny model with a w2v-BERT encoder, conformer adapter and M2M-100 decoder on a few hundred of the demo's
# sentences, in less than 20 minutes on two cores by estimate. Run this in an empty folder, with voxlate[spoken] installed:
#
#     bash PATH/TO/recipes/demo/micro.sh
#
# Rerun it to resume after an interruption. Any setting of micro.yaml may follow, such as optimizer.max_updates=20.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TRAIN=${TRAIN:-250} # sentences per language; twice as many for English
TEST=${TEST:-40}    # sentences with combinations that are not in training
PIECES=${PIECES:-150} # vocabulary size

PAIRS=fr-en,de-en,en-de
python "$HERE/make_sentences.py" --phrases "$HERE/micro" --train "$TRAIN" --test "$TEST" > sentences.tsv
voxlate prepare spoken sentences.tsv --pairs $PAIRS --voices en-us --variants max --snr 60:60 --speed 160:180 \
  --pitch 50:50 --silence 0.05:0.2 --output corpus
voxlate prepare covost2 --common-voice corpus/common_voice --covost corpus/covost --pairs $PAIRS --output data
[ -e sentencepiece.bpe.model ] ||
  voxlate prepare vocabulary data/*/train.jsonl --size "$PIECES" --output sentencepiece.bpe.model
voxlate train "$HERE/micro.yaml" "$@"
