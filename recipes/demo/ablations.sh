#!/usr/bin/env bash
# What single options do: the last stage of run.sh, shorter, with one thing changed at a time, for several seeds.
# In the folder where run.sh ran:
#
#     bash PATH/TO/recipes/demo/ablations.sh
#
# Run again after an interruption, it goes on.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
UPDATES=${UPDATES:-300}
SEEDS=${SEEDS:-1 2 3}
OPTIONS=${OPTIONS:-base no-ctc even lna-ed lora augmented distilled averaged mbr}
ONE_IN=${ONE_IN:-8} # of the training clips the finished model teaches: 200 updates take less than half of them
SETTINGS=${SETTINGS:-}
LAUNCH=${LAUNCH:-}

train() { # NAME SEED SETTING...
  # shellcheck disable=SC2086
  $LAUNCH voxlate train "$HERE/demo.yaml" output="ablations/$1-$2" 'model={init_from: listening/best}' seed="$2" \
    trainable.feature_encoder=false loss.ctc_weight=0.2 \
    optimizer.updates="$UPDATES" optimizer.lr=4.0e-4 optimizer.warmup_updates=$((UPDATES / 10)) \
    validation.every_updates="$UPDATES" checkpoints.every_updates=$((UPDATES / 5 > 0 ? UPDATES / 5 : 1)) "${@:3}" $SETTINGS
}
score() { # NAME SEED MODEL OPTION...
  $LAUNCH voxlate evaluate --model "$3" --data test-voices --output "scores/ablations/$1-$2" --dtype float32 "${@:4}"
}
teach() { # what the finished model says of some training clips, to be learnt instead of their translations
  for folder in data/*-*/; do awk "NR % $ONE_IN == 0" "$folder/train.jsonl" > "$folder/taught.jsonl"; done
  $LAUNCH voxlate evaluate --model run/best --data data --split taught --output teacher --dtype float32
  grep -hv '"text": ""' teacher/*/hypotheses.jsonl > teacher.jsonl || true # a model of a few updates says nothing
}
listed() { (IFS=, && echo "[$*]"); }

for seed in $SEEDS; do
  for name in $OPTIONS; do
    case $name in
      base) train base "$seed" ;;
      no-ctc) train no-ctc "$seed" loss.ctc_weight=0 ;;
      even) train even "$seed" data.temperature=1 ;;
      lna-ed | lora) train "$name" "$seed" trainable.preset="$name" ;;
      augmented) train augmented "$seed" 'augmentation={speeds: [0.9, 1.0, 1.1], noise_share: 0.3, join_share: 0.2}' ;;
      distilled)
        teach
        train distilled "$seed" data.train="$(listed data/*/taught.jsonl)" data.teacher='[teacher.jsonl]'
        ;;
      averaged) voxlate average "ablations/base-$seed" ;;
    esac
    case $name in
      averaged) score averaged "$seed" "ablations/base-$seed/averaged" ;;
      mbr) score mbr "$seed" "ablations/base-$seed/best" --mbr ;;
      *) score "$name" "$seed" "ablations/$name-$seed/best" ;;
    esac
  done
done
python "$HERE/ablations.py" scores/ablations
