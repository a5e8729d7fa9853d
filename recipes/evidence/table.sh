#!/usr/bin/env bash
# The table of recipes/evidence.md out of the counts of its runs, which hold no text: without models or data, in seconds.
#
#     recipes/evidence/table.sh validation|test [OUT]
#
# OUT: where queue.sh has put its scores; the counts of all runs there are taken over into recipes/evidence/PARTITION first.
set -euo pipefail
cd "$(dirname "$0")/../.."
partition=$1 scores=recipes/evidence/$1
mkdir -p "$scores"
for file in ${2:+"$2/$partition"/*/*/counts.json}; do
    cp "$file" "$scores/$(basename "$(dirname "$file")").json" # ARM-SEED/ARM-SEED/counts.json
done
base=() others=()
for file in "$scores"/*-*.json; do
    run=$(basename "$file" .json)
    if [ "${run%-*}" = task ]; then base+=("task=$file"); else others+=("${run%-*}=$file"); fi
done
midalign evaluate "${base[@]}" "${others[@]}" --output "data/evidence-$partition"
