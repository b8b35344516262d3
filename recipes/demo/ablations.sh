#!/usr/bin/env bash
# Measure the effect of single options: the last stage of run.sh, shorter, with one change at a time, for several seeds.
# Run this in the folder in which run.sh ran:
#
#     bash PATH/TO/recipes/demo/ablations.sh
#
# Rerun it to resume after an interruption.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
UPDATES=${UPDATES:-300}
SEEDS=${SEEDS:-1 2 3}
OPTIONS=${OPTIONS:-base no-ctc even lna-ed lora augmented distilled averaged mbr}
ONE_IN=${ONE_IN:-8} # the teacher translates one in so many training clips; 200 updates need less than half of those
SETTINGS=${SETTINGS:-}
LAUNCH=${LAUNCH:-}

train() { # NAME SEED SETTING...
  # shellcheck disable=SC2086
  $LAUNCH voxlate train "$HERE/demo.yaml" output_dir="ablations/$1-$2" 'model={init_from: decoder/best}' seed="$2" \
    trainable.feature_encoder=false loss.ctc_weight=0.2 \
    optimizer.max_updates="$UPDATES" optimizer.lr=4.0e-4 optimizer.warmup_updates=$((UPDATES / 10)) \
    validation.every_updates="$UPDATES" checkpoints.every_updates=$((UPDATES / 5 > 0 ? UPDATES / 5 : 1)) "${@:3}" $SETTINGS
}
score() { # NAME SEED MODEL OPTION...
  $LAUNCH voxlate evaluate --model "$3" --data test-voices --output "scores/ablations/$1-$2" --dtype float32 "${@:4}"
}
make_targets() { # translate some training clips with the finished model, as targets for distillation
  for folder in data/*-*/; do awk "NR % $ONE_IN == 0" "$folder/train.jsonl" > "$folder/distill.jsonl"; done
  $LAUNCH voxlate evaluate --model run/best --data data --split distill --output teacher --dtype float32
  grep -hv '"text": ""' teacher/*/hypotheses.jsonl > teacher.jsonl || true # after a few updates a model's translations may all be empty
}
as_list() { (IFS=, && echo "[$*]"); }

for seed in $SEEDS; do
  for name in $OPTIONS; do
    case $name in
      base) train base "$seed" ;;
      no-ctc) train no-ctc "$seed" loss.ctc_weight=0 ;;
      even) train even "$seed" data.sampling_temperature=1 ;;
      lna-ed | lora) train "$name" "$seed" trainable.preset="$name" ;;
      augmented) train augmented "$seed" 'augmentation={speeds: [0.9, 1.0, 1.1], noise_share: 0.3, join_share: 0.2}' ;;
      distilled)
        make_targets
        train distilled "$seed" data.train="$(as_list data/*/distill.jsonl)" data.teacher='[teacher.jsonl]'
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
