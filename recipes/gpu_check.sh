#!/usr/bin/env bash
# bash recipes/gpu_check.sh [--cpu]
# Whether this machine's GPU does what the method needs, in under ten minutes, with nothing from the hub: one line a check,
# exit code 1 where one has failed. recipes/gpu_check.md says what each of them is, and what has been found.
set -euo pipefail
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec python -m midalign.bench.check "$@"
