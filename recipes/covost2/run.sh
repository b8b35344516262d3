#!/usr/bin/env bash
# Train and score one system on CoVoST-2: from archives to a report next to the published rows. Run this in an empty
# folder:
#
#     RECIPE=x-en-300m COMMON_VOICE=common_voice COVOST=covost bash PATH/TO/recipes/covost2/run.sh
#
# Rerun it to resume after an interruption. Only the pretrained weights are downloaded. COMMON_VOICE and COVOST are
# folders as for `voxlate prepare covost2`.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
RECIPE=${RECIPE:-x-en-300m} # YAML file of this folder, without its suffix
COMMON_VOICE=${COMMON_VOICE:-common_voice} # archives or folders of the source languages
COVOST=${COVOST:-covost} # covost_v2.SOURCE_TARGET.tsv files
TRANSCODE=${TRANSCODE-flac} # empty to train from the MP3 files
LAUNCH=${LAUNCH:-} # "accelerate launch --multi_gpu --num_processes 8 -m"
SETTINGS=${SETTINGS:-} # "data.batch_seconds=240 seed=2 ..."
AGAINST=${AGAINST:-XLSR-53,XLS-R (0.3B),XLS-R (1B),XLS-R (2B)} # published rows of the report
BEAM=${BEAM:-5}
PIECES=${PIECES:-1000} # vocabulary size of debug

case $RECIPE in
  x-en* | en-x*) PAIRS=${RECIPE:0:4} ;;
  debug) PAIRS=fr-en ;;
  *) PAIRS=${RECIPE:0:5} ;; # fr-en-300m
esac
RUN=runs/$RECIPE
if [ ! -e "$HERE/$RECIPE.yaml" ]; then
  known=$(cd "$HERE" && ls -- *.yaml | sed 's/\.yaml$//' | paste -s -d, | sed 's/,/, /g')
  echo "error: $RECIPE.yaml: no such recipe; expected one of $known" >&2
  exit 2
fi

voxlate prepare covost2 --common-voice "$COMMON_VOICE" --covost "$COVOST" --pairs "$PAIRS" --output data \
  ${TRANSCODE:+--transcode "$TRANSCODE"}
if [ "$RECIPE" = debug ] && [ ! -e sentencepiece.bpe.model ]; then
  voxlate prepare vocabulary data/fr-en/train.jsonl --size "$PIECES" --output sentencepiece.bpe.model
fi
# shellcheck disable=SC2086
${LAUNCH:-} voxlate train "$HERE/$RECIPE.yaml" output_dir="$RUN" $SETTINGS
voxlate average "$RUN"
# shellcheck disable=SC2086
${LAUNCH:-} voxlate evaluate --model "$RUN/averaged" --data data --directions "$PAIRS" --beam-size "$BEAM" --output "scores/$RECIPE"
against=()
while IFS= read -r row; do against+=(--against "$row"); done < <(tr ',' '\n' <<< "$AGAINST")
voxlate report "scores/$RECIPE" "${against[@]}" --output "report/$RECIPE"
