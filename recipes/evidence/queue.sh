#!/usr/bin/env bash
# The runs of recipes/evidence.md, one after another; what is done is skipped, so start it again after any end.
#
#     recipes/evidence/queue.sh MODEL MASSIVE TATOEBA OUT [ARM-SEED...]
#
# MODEL: a folder of Gemma 3 270M with a chat template.   MASSIVE: <locale>/{train,validation}.jsonl.
# TATOEBA: <language>-en.jsonl.   OUT: where pairs, runs, merged models (0.3 GB each) and scores go.
# Without ARM-SEED: all of the list below, in order.
# An arm called slots_... is the same with slots in place of intents.
# NTREX=FOLDER, laid out like TATOEBA, is asked for by context_gentle_ntrex, which is not in the list.
# The adapter goes into the model before it answers, which is the model that one would deploy: two thirds of the time.
# In place of 300 validation rows of thirteen locales, PARTITION=english scores all validation rows of English, PARTITION=test
# all test rows of nine locales, PARTITION=rest those of the other thirteen.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$1 massive=$2 tatoeba=$3 out=$4
shift 4
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# float32, or bfloat16: a fifth of the time in products where lscpu has avx512_bf16 or amx, several times as much elsewhere
dtype=${DTYPE:-bfloat16}
labelled=4800 # rows with a label; the other 6,700 are free for pairs
locales=(cy-GB ja-JP jv-ID sw-KE tr-TR)
queue=(
    task-1 context_gentle-1 task-2 context_gentle-2 task-3 context_gentle-3 task-4 context_gentle-4 task-5 context_gentle-5
    context_gentle_tatoeba-1 context_gentle_shuffled-1 context-1 context_held-1 context_half-1 context_first-1
    domain1000-1 tatoeba-1 shuffled-1 paper-1 context_gentle100-1 context_gentle300-1 both-1 twice-1 labels-1 translate-1
    context_gentle_tatoeba-2 context_gentle_shuffled-2 context_gentle_tatoeba-3 context_gentle_shuffled-3
    context_held-2 context_held-3 context_half-2 context_half-3
    slots_task-1 slots_context_gentle-1 slots_words-1 slots_context_words-1
)
[ $# -gt 0 ] && queue=("$@")

pairs() { # pairs FOLDER [OPTION...]: in-domain pairs, made once
    [ -d "$out/$1" ] && return
    rm -rf "$out/$1.part" # of a command that was cut
    python examples/in_domain_pairs.py "$massive" "$out/$1.part" "${locales[@]}" --labelled $labelled "${@:2}" || exit
    mv "$out/$1.part" "$out/$1"
}

values() { # the labelled rows, half of those with slots with words of the pairs in their slots, made once
    [ -d "$out/values" ] && return
    rm -rf "$out/values.part"
    pairs pairs/domain1000 --pairs 1000
    python recipes/evidence/foreign_values.py "$massive" "$out/values.part" "$out/pairs/domain1000" --labelled $labelled || exit
    mv "$out/values.part" "$out/values"
}

# What the recipe was before its setting was chosen: each sentence by itself, its tokens' mean, no side held.
plain='--align_context plain --align_pooling mean --align_stop_gradient false --align_weight 1'
skip='--align_pool_skip_first true'
full='--align_weight 1 --align_stop_gradient false' # inside the prompt, before half the weight and a held English were chosen

options() { # options ARM: sets `given`, what it has beside its recipe
    given=()
    case $1 in
        task) ;;
        twice) given=(--max_steps 600) ;;
        domain*) pairs "pairs/$1" --pairs "${1#domain}" && given=(--align_data "$out/pairs/$1" $plain $skip) ;;
        context*)
            local from=$out/pairs/domain1000
            case $1 in
                *_tatoeba) from=$tatoeba ;;
                *_ntrex) from=${NTREX:?give the folder of its <language>-en.jsonl} ;;
                *_shuffled) from=$out/pairs/shuffled && pairs pairs/shuffled --pairs 1000 --wrong ;;
                *_gentle[0-9]*)
                    local count=${1#*_gentle}
                    from=$out/pairs/domain$count && pairs "pairs/domain$count" --pairs "$count"
                    ;;
                *) pairs pairs/domain1000 --pairs 1000 ;;
            esac
            given=(--align_data "$from")
            case $1 in
                context_gentle | context_gentle_tatoeba | context_gentle_ntrex | context_gentle_shuffled | context_gentle[0-9]*) ;; # the recipe
                context_held) given+=(--align_weight 1) ;;
                context_half) given+=(--align_stop_gradient false) ;;
                context) given+=($full) ;;
                context_first) given+=($full --align_until 150) ;;
                context_words) values && given+=($full --task_data "$out/values") ;;
                context[0-9]*) given+=($full --align_batch_size "${1#context}") ;;
                *) echo "no arm is called $1" >&2 && return 2 ;;
            esac
            ;;
        words) values && given=(--task_data "$out/values") ;;
        shuffled) pairs pairs/shuffled --pairs 1000 --wrong && given=(--align_data "$out/pairs/shuffled" $plain $skip) ;;
        tatoeba) given=(--align_data "$tatoeba" $plain $skip) ;;
        paper) given=(--align_data "$tatoeba" $plain --align_center false) ;;
        labels) given=(--task_languages en-US "${locales[@]}" --task_rows 800) ;;
        translate)
            pairs pairs/domain1000 --pairs 1000
            given=(--task "$task" translation --task_data "$massive" "$out/pairs/domain1000" --task_rows 4800 1000
                --task_languages en-US cy-en,ja-en,jv-en,sw-en,tr-en --max_steps 613)
            ;;
        both) pairs pairs/domain1000 --pairs 1000 && given=(--align_data "$tatoeba" "$out/pairs/domain1000" $plain $skip) ;;
        *) echo "no arm is called $1" >&2 && return 2 ;;
    esac
}

train() { # train RECIPE FOLDER SEED [OPTION...]
    python src/run_midalign.py "recipes/gemma3/$1_intents_270m.yaml" --model_name_or_path "$model" --dtype "$dtype" --use_cpu true \
        --task "$task" --task_data "$massive" --seed "$3" --output_dir "$2" "${@:4}"
}

join() { local IFS=,; echo "$*"; }
never=(de-DE es-ES hi-IN fi-FI th-TH af-ZA tl-PH) # validation rows of these are looked at
unseen=(fr-FR ko-KR ru-RU) rest=("${never[@]}" am-ET ar-SA el-GR is-IS vi-VN zh-CN)
case ${PARTITION:-validation} in
    validation) rows=(--partition validation --rows 300) scored=(en-US "${locales[@]}" "${never[@]}") ;;
    english) rows=(--partition validation) scored=(en-US) ;;
    test) rows=(--partition test) scored=(en-US "${locales[@]}" "${unseen[@]}") ;;
    rest) rows=(--partition test) scored=("${rest[@]}") ;;
    *) echo "PARTITION is $PARTITION; take validation, english, test or rest" >&2 && exit 2 ;;
esac

for run in "${queue[@]}"; do
    arm=${run%-*} seed=${run##*-} task=intents
    case $arm in slots_*) arm=${arm#slots_} task=slots ;; esac
    scores=$out/${PARTITION:-validation}/$run
    [ -e "$scores/scores.json" ] && continue
    among=("${scored[@]}")
    [ "$task" = slots ] && among=("${scored[@]:0:7}") # such an answer takes five times as long
    [ "$task-${PARTITION:-}" = slots-rest ] && echo "$run: slots are not scored on PARTITION=rest" >&2 && continue
    [[ $task-$arm = intents-*words ]] && echo "$run: words are put into slots only; take slots_$run" >&2 && exit 2
    recipe=align held=100 # pairs of each language, for diagnostics
    case $arm in
        task | twice | labels | translate | words) recipe=sft held= ;;
        *100) held=10 ;;
    esac
    options "$arm"
    [ -z "$held" ] || given+=(--align_eval_pairs "$held")
    if [ ! -e "$out/runs/$run/done" ]; then # a run that was cut goes on from its last checkpoint
        compgen -G "$out/runs/$run/checkpoint-*" > /dev/null && given+=(--resume_from_checkpoint true)
        train $recipe "$out/runs/$run" "$seed" "${given[@]}"
        touch "$out/runs/$run/done"
    fi
    merged=$out/merged/$dtype/$run
    if [ ! "$merged" -nt "$out/runs/$run/done" ]; then # trained anew, or never merged
        rm -rf "$merged"
        midalign export "$out/runs/$run" --output "$merged" --rows 0 --dtype "$dtype"
    fi
    midalign evaluate "$merged" --task "$task" --data "$massive" --no-base --dtype "$dtype" --batch-size 64 \
        "${rows[@]}" --locale "$(join "${among[@]}")" --supervised en-US --aligned "$(join "${locales[@]}")" --output "$scores"
done
