#!/usr/bin/env bash
# Measure everything about the speed of one card, in six minutes (--quick: three; estimates), without network:
#
#     bash eval/speed/gpu.sh [--quick] [--output FILE.json] [--device cuda:0] [--parity-data MANIFEST]
#
# Builds a random model of the published size and synthetic clips, compares texts with the CPU and tokens with
# transformers, and measures translation, latency, matrix products, GPU use and training next to transformers' best.
# The results are written as JSON with the name of the card, after each stage. On a CPU, the model is tiny, and the
# figures only show that the script runs.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "${PYTHON:-python}" "$HERE/gpu.py" "$@"
