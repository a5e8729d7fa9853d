#!/usr/bin/env bash
# The tables of recipes/evidence.md out of the counts of its runs, which hold no text: without models or data, in seconds.
#
#     recipes/evidence/table.sh validation|english|test|rest [OUT]
#     recipes/evidence/table.sh before
#
# OUT: where queue.sh has put its scores; the counts of all runs there are taken over into recipes/evidence/PARTITION first.
set -euo pipefail
cd "$(dirname "$0")/../.."
partition=$1 scores=recipes/evidence/$1
[ -z "${2:-}" ] || [ -d "$2/$partition" ] || { echo "no scores of PARTITION=$partition are in $2" >&2 && exit 2; }
mkdir -p "$scores"
for file in ${2:+"$2/$partition"/*/*/counts.json}; do
    cp "$file" "$scores/$(basename "$(dirname "$file")").json" # ARM-SEED/ARM-SEED/counts.json
done
for task in intents slots; do
    base=() others=() prefix=
    [ $task = slots ] && prefix=slots_
    for file in "$scores"/*-*.json; do
        arm=$(basename "${file%-*}")
        case $arm in
            "${prefix}task") base+=("task=$file") ;;
            slots_*) [ $task = intents ] || others+=("${arm#slots_}=$file") ;;
            *) [ $task = slots ] || others+=("$arm=$file") ;;
        esac
    done
    [ ${#base[@]} -eq 0 ] || midalign evaluate "${base[@]}" "${others[@]}" --output "data/evidence-$partition/$task"
done
