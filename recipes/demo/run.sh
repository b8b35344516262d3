#!/usr/bin/env bash
# The demo model from nothing: sentences, speech, training, scores. In a folder of its own, with voxlate[spoken] installed:
#
#     bash PATH/TO/recipes/demo/run.sh
#
# Run again after an interruption, it goes on. See README.md for what it needs.
# Smaller: TRAIN=200 DEV=8 TEST=8 PIECES=300 SETTINGS="optimizer.updates=20 ..." (any setting of demo.yaml).
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TRAIN=${TRAIN:-20000} # sentences for each language, of its own; twice as many for English
DEV=${DEV:-60}
TEST=${TEST:-400}
PIECES=${PIECES:-1700} # of the vocabulary
SETTINGS=${SETTINGS:-}
LAUNCH=${LAUNCH:-}   # "torchrun --standalone --nproc_per_node 2 --no-python" starts two processes: the same result
BATCHES=${BATCHES:-} # of an update, 2 to 8 without: 1 on a GPU, with SETTINGS="data.workers=10"

PAIRS=fr-en,de-en,es-en,it-en,ca-en,en-de,en-fr,en-ca
VOICES=en-gb,en-us # of the others, the plainest
SEEN=Alex,Alicia,Andy,Annie,Denis,Gene,Hugo,Jacky,Lee,Marco,Mario,Mike,Nguyen,Reed,RicishayMax,Storm,adam,anika
SEEN=$SEEN,antonio,aunty,belinda,benjamin,boris,caleb,david,ed,f1,f2,f3,f4,gustave,ian,john,m1,m2,m3,m4,m5,m6,m7
SEEN=$SEEN,marcelo,max,michel,miguel,norbert,pablo,pedro,rob,robert,sandro,shelby,travis,victor,zac
UNSEEN=Andrea,Michael,edward,f5,iven,linda,m8,paul,quincy,steph

speak() { # FOLDER TEXT OPTION...: a corpus and its manifests
  voxlate prepare spoken "$2" --pairs $PAIRS --voices $VOICES --output "$1/corpus" "${@:3}"
  voxlate prepare covost2 --common-voice "$1/corpus/common_voice" --covost "$1/corpus/covost" --pairs $PAIRS --output "$1"
}

python "$HERE/sentences.py" --train "$TRAIN" --dev "$DEV" > sentences.tsv
python "$HERE/sentences.py" --test "$TEST" > test.tsv
speak data sentences.tsv --variants "$SEEN" --snr 10:45 --babble 0.2 --silence 0.02:0.4
speak test test.tsv --variants "$SEEN" --snr 30:45 --seed 2
speak test-babble test.tsv --variants "$SEEN" --snr 10:10 --babble 1 --seed 2
speak test-voices test.tsv --variants "$UNSEEN" --snr 30:45 --seed 3
speak test-voices-babble test.tsv --variants "$UNSEEN" --snr 10:10 --babble 1 --seed 3

[ -e sentencepiece.bpe.model ] ||
  voxlate prepare vocabulary data/*/train.jsonl --size "$PIECES" --output sentencepiece.bpe.model

stage() { # OUTPUT COST BATCHES SETTING...: a training run; COST of an update as data.batch_seconds counts it
  local batches=${BATCHES:-$3}
  # shellcheck disable=SC2086
  $LAUNCH voxlate train "$HERE/demo.yaml" output="$1" data.batch_seconds=$(($2 / batches)) \
    data.batches_per_update="$batches" "${@:4}" $SETTINGS
}
# A decoder that begins together with the encoder learns not to listen to it. So the encoder first learns to read, by CTC,
# each language as often as the others. Then both learn together for a while; then the decoder alone to translate what it
# hears, several times faster since the encoder's states are kept; then both again.
stage reading 32 2 data.dev=[] data.directions=[fr-en,de-en,es-en,it-en,ca-en,en-de] \
  optimizer.updates=24000 loss.ctc_only_updates=24000 optimizer.lr=1.2e-3
stage beginning 480 8 'model={init_from: reading/best, slots: {fr: fr_XX, ca: pt_XX}}' \
  trainable.feature_encoder=false loss.ctc_weight=0.3 optimizer.updates=2000 validation.every_updates=1000
stage listening 120 2 'model={init_from: beginning/best}' trainable='{preset: decoder-only, cache_encoder: true}' \
  optimizer.updates=18000 optimizer.lr=1.2e-3 validation.every_updates=6000
stage run 120 2 'model={init_from: listening/best}' trainable.feature_encoder=false loss.ctc_weight=0.2 \
  optimizer.updates=6800 optimizer.lr=4.0e-4 validation.every_updates=3400
for name in test test-babble test-voices test-voices-babble; do
  $LAUNCH voxlate evaluate --model run/best --data $name --output scores/$name --dtype float32
done
voxlate report scores/test scores/test-babble scores/test-voices scores/test-voices-babble --output report \
  --sentences 12 --embed-mib 1 --no-link
python "$HERE/card.py" run/best scores --output model
