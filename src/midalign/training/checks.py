"""What rows, pairs and a model must fulfil before they train together."""

from midalign.data.columns import first_ids, longest
from midalign.data.schedule import require_full_batch
from midalign.errors import InputError


def check_pairs(args, pairs, eval_pairs):
    """Refuse tokenised pairs that cannot train: needs no model, so it can run before one is loaded.

    Raises InputError.
    """
    if args.align_schedule != "sft":
        require_full_batch(len(pairs), args.align_batch_size, args.world_size)
    _check_metric(args.metric_for_best_model, set(eval_pairs.unique("language")))
    if args.align_pooling == "bos" and len(first_ids(pairs) | first_ids(eval_pairs)) == 1:
        raise InputError(
            "align_pooling bos reads the first token, which is the same in every sentence with this tokenizer: "
            "the loss would stay at ln(align_batch_size); use mean, weighted or last."
        )


def _check_metric(metric, measured):
    """Refuse a metric that no evaluation would have.   measured: the languages of the held-out pairs."""
    name = (metric or "").removeprefix("eval_")
    language = name.removeprefix("retrieval_at_1_")
    others = ", ".join(sorted(measured)) or "no language"
    if language != name and language not in measured:
        raise InputError(
            f"metric_for_best_model {metric}: held-out pairs are of {others}; name "
            "one of them, or add the language to align_eval_languages."
        )
    if name in ("align", "retrieval_at_1") and not measured:
        raise InputError(f"metric_for_best_model {metric} needs held-out pairs, and there are none; use task.")


def check_task_tokens(limit, longest):
    """Refuse a task_tokens_per_batch that cannot be kept.   longest: tokens of the longest row.   Raises InputError."""
    if limit and limit < longest:
        raise InputError(f"task_tokens_per_batch is {limit}, but a row has {longest} tokens; raise it.")


def longest_row(*datasets):
    """Tokens of the longest task row of some datasets or None; 0 without any."""
    return max((longest(rows, "input_ids") for rows in datasets if rows), default=0)


def longest_sentence(*datasets):
    """Tokens of the longest sentence of some pairs; 0 without any."""
    return max(longest(pairs, "source", "target") for pairs in datasets)


def fast_paths(args, capability, row, sentence):
    """{share_prefix: whether it is on, and why not: (bool, None or the reason); pack_pairs: the same}.

    args: MidAlignConfig.   row, sentence: tokens of the longest one.
    Raises InputError where one of them, or several passes, are asked for and would not be exact.
    """
    if args.task_tokens_per_batch:
        capability.require_passes("task_tokens_per_batch", row)
    if args.align_chunk_size:
        capability.require_passes("align_chunk_size", sentence)
    return {
        "share_prefix": capability.packs("share_prefix", args.share_prefix, row),
        "pack_pairs": capability.packs("pack_pairs", args.pack_pairs, sentence, args.align_context == "task"),
    }
