#!/usr/bin/env bash
# Build the demo model from scratch: sentences, speech, training, scores. Run this in an empty folder, with
# voxlate[spoken] installed:
#
#     bash PATH/TO/recipes/demo/run.sh
#
# Rerun it to resume after an interruption. README.md lists what it needs.
# For a smaller model: TRAIN=200 DEV=8 TEST=8 PIECES=300 SETTINGS="optimizer.max_updates=20 ..." (any setting of demo.yaml).
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TRAIN=${TRAIN:-20000} # sentences per language; twice as many for English
DEV=${DEV:-60}
TEST=${TEST:-400}
PIECES=${PIECES:-1700} # vocabulary size
JOINED=${JOINED:-1500} # sentences per language from which the sentence boundary head learns; twice as many for English
HOURS=${HOURS:-20}     # of recordings that are joined from them
SETTINGS=${SETTINGS:-}
LAUNCH=${LAUNCH:-}   # "torchrun --standalone --nproc_per_node 2 --no-python" starts two processes; the result is the same
BATCHES=${BATCHES:-} # batches per update, by default 2 to 8; use 1 on a GPU, with SETTINGS="data.num_workers=10"

PAIRS=fr-en,de-en,es-en,it-en,ca-en,en-de,en-fr,en-ca
VOICES=en-gb,en-us # English voices; the other languages use their default voice
SEEN=Alex,Alicia,Andy,Annie,Denis,Gene,Hugo,Jacky,Lee,Marco,Mario,Mike,Nguyen,Reed,RicishayMax,Storm,adam,anika
SEEN=$SEEN,antonio,aunty,belinda,benjamin,boris,caleb,david,ed,f1,f2,f3,f4,gustave,ian,john,m1,m2,m3,m4,m5,m6,m7
SEEN=$SEEN,marcelo,max,michel,miguel,norbert,pablo,pedro,rob,robert,sandro,shelby,travis,victor,zac
UNSEEN=Andrea,Michael,edward,f5,iven,linda,m8,paul,quincy,steph

speak() { # FOLDER TEXT OPTION...: synthesize a corpus and prepare its manifests
  voxlate prepare spoken "$2" --pairs $PAIRS --voices $VOICES --output "$1/corpus" "${@:3}"
  voxlate prepare covost2 --common-voice "$1/corpus/common_voice" --covost "$1/corpus/covost" --pairs $PAIRS --output "$1"
}

python "$HERE/make_sentences.py" --train "$TRAIN" --dev "$DEV" > sentences.tsv
python "$HERE/make_sentences.py" --test "$TEST" > test.tsv
speak data sentences.tsv --variants "$SEEN" --snr 10:45 --babble 0.2 --silence 0.02:0.4
speak test test.tsv --variants "$SEEN" --snr 30:45 --seed 2
speak test-babble test.tsv --variants "$SEEN" --snr 10:10 --babble 1 --seed 2
speak test-voices test.tsv --variants "$UNSEEN" --snr 30:45 --seed 3
speak test-voices-babble test.tsv --variants "$UNSEEN" --snr 10:10 --babble 1 --seed 3

[ -e sentencepiece.bpe.model ] ||
  voxlate prepare vocabulary data/*/train.jsonl --size "$PIECES" --output sentencepiece.bpe.model

stage() { # OUTPUT SECONDS BATCHES SETTING...: a training run; SECONDS is data.batch_seconds, summed over an update
  local batches=${BATCHES:-$3}
  # shellcheck disable=SC2086
  $LAUNCH voxlate train "$HERE/demo.yaml" output_dir="$1" data.batch_seconds=$(($2 / batches)) \
    data.batches_per_update="$batches" "${@:4}" $SETTINGS
}
# A decoder that is trained together with an untrained encoder learns to ignore it. So the encoder is first trained
# alone with CTC, on all languages equally often. Then both are trained together for a while. Then the decoder is
# trained alone, several times faster because the encoder's states are cached. Finally both are trained together again.
stage ctc 32 2 data.dev=[] data.directions=[fr-en,de-en,es-en,it-en,ca-en,en-de] \
  optimizer.max_updates=24000 loss.ctc_only_updates=24000 optimizer.lr=1.2e-3
stage joint 480 8 'model={init_from: ctc/best, language_tokens: {fr: fr_XX, ca: pt_XX}}' \
  trainable.feature_encoder=false loss.ctc_weight=0.3 optimizer.max_updates=2000 validation.every_updates=1000
stage decoder 120 2 'model={init_from: joint/best}' trainable='{preset: decoder-only, cache_encoder: true}' \
  optimizer.max_updates=18000 optimizer.lr=1.2e-3 validation.every_updates=6000
stage run 120 2 'model={init_from: decoder/best}' trainable.feature_encoder=false loss.ctc_weight=0.2 \
  optimizer.max_updates=6800 optimizer.lr=4.0e-4 validation.every_updates=3400
# Recordings of several sentences are cut by a sentence boundary head. Its clips have little noise, so that the silence
# at their edges can be removed by level; noise is added to the joined recordings.
if [ ! -e run/best/segmenter.safetensors ]; then
  python "$HERE/make_sentences.py" --train "$JOINED" > joined.tsv
  speak joined joined.tsv --variants "$SEEN" --snr 40:60 --silence 0:0.1 --seed 5
  voxlate train-segmenter joined/*/train.jsonl --encoder run/best --hours "$HOURS"
fi
for name in test test-babble test-voices test-voices-babble; do
  $LAUNCH voxlate evaluate --model run/best --data $name --output scores/$name --dtype float32
done
voxlate report scores/test scores/test-babble scores/test-voices scores/test-voices-babble --output report \
  --sentences 12 --embed-mib 1 --no-link
python "$HERE/card.py" run/best scores --output model
