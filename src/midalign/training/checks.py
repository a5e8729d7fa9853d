"""What rows, pairs and a model must fulfil before they train together."""

from midalign.data.schedule import require_full_batch
from midalign.errors import InputError


def check_pairs(args, pairs, eval_pairs):
    """Refuse tokenised pairs that cannot train: needs no model, so it can run before one is loaded.

    Raises InputError.
    """
    if args.align_schedule != "sft":
        require_full_batch(len(pairs), args.align_batch_size, args.world_size)
    first = {pair[side][0] for pair in [*pairs, *eval_pairs] for side in ("source", "target")}
    if args.align_pooling == "bos" and len(first) == 1:
        raise InputError(
            "align_pooling bos reads the first token, which is the same in every sentence with this tokenizer: "
            "the loss would stay at ln(align_batch_size); use mean, weighted or last."
        )


def check_task_tokens(limit, longest):
    """Refuse a task_tokens_per_batch that cannot be kept.   longest: tokens of the longest row.   Raises InputError."""
    if limit and limit < longest:
        raise InputError(f"task_tokens_per_batch is {limit}, but a row has {longest} tokens; raise it.")


def packs(key, wanted, config, longest, experts=False):
    """Whether to pack, and why not: (bool, None or the reason).

    key: share_prefix or pack_pairs.   wanted: its value, None = where it is exact.   config: the decoder's.
    longest: tokens of the longest row or sentence.   experts: whether a loss over routers is asked for.
    Raises InputError where it is wanted and would not be exact.
    """
    if wanted is False:
        return False, None
    reason = None
    kinds = set(getattr(config, "layer_types", None) or ())
    others = kinds - {"full_attention", "sliding_attention"}
    window = getattr(config, "sliding_window", None) if not kinds or "sliding_attention" in kinds else None
    if config._attn_implementation not in ("sdpa", "eager"):
        reason = f"attn_implementation {config._attn_implementation} does not take a block mask, sdpa and eager do"
    elif others:
        reason = f"layers of kind {', '.join(sorted(others))} take no block mask"
    elif experts:
        reason = "the loss that balances experts takes no block mask"
    elif window is not None and longest > window:
        reason = f"it is exact only within the sliding window of {window} tokens, but a row has {longest}"
    if reason and wanted:
        raise InputError(f"{key} is not possible: {reason}; delete {key}.")
    return reason is None, reason
