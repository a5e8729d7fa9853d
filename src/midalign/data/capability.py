"""What a decoder bears, read from its configuration: rows laid in one sequence, a half in several passes, answers."""

from dataclasses import dataclass

from midalign.errors import InputError

FULL, SLIDING = "full_attention", "sliding_attention"
FLEX = "flex_attention"
MASKED = ("sdpa", "eager", FLEX)  # implementations of attention that take a mask of what sees what
ENDS = ("flash_attention_2", "flash_attention_3")  # they take rows end to end, each of which sees itself


@dataclass(frozen=True)
class Capability:
    """What decides whether rows that go through a model together still get what each of them gets alone.

    attention: the implementation that the configuration names.   kinds: of its layers, in transformers' words.
    window: tokens that a sliding-window layer sees, None without such layers.
    border: tokens of the longest row up to which positions are what they are; past it longrope and dynamic NTK take
        other frequencies, for all rows of a pass. None for other kinds of positions.
    balance: weight of the loss that balances experts, 0 without.   dropout: of attention weights.
    """

    attention: str | None
    kinds: frozenset
    window: int | None
    border: int | None
    balance: float
    dropout: float

    @classmethod
    def of(cls, config, balance=None):
        """config: a model's or its decoder's.   balance: as router_aux_loss_coef, None for the configuration's own."""
        text = config.get_text_config()
        window = getattr(text, "sliding_window", None)
        kinds = frozenset(getattr(text, "layer_types", None) or [FULL if window is None else SLIDING])
        own = getattr(text, "router_aux_loss_coef", None) if balance is None else balance
        return cls(
            text._attn_implementation,
            kinds,
            window if SLIDING in kinds else None,
            _border(text),
            (own or 0.0) if hasattr(text, "output_router_logits") else 0.0,
            getattr(text, "attention_dropout", None) or 0.0,
        )

    def flex_obstacle(self, device):
        """Why flex attention cannot train this model on a device; None where it can.   device: torch.device."""
        if device.type in ("cpu", "mps"):
            return f"torch has no backward pass for it on {device.type}"
        if self.dropout:
            return f"it drops no attention weights, but the model has attention_dropout {self.dropout}"
        return None

    def require_training(self, device):
        """Refuse attention that has no gradient on a device.   Raises InputError."""
        if self.attention == FLEX and (reason := self.flex_obstacle(device)):
            raise InputError(f"attn_implementation {FLEX} is not possible: {reason}; delete attn_implementation.")

    def packs(self, key, wanted, longest, shares=True):
        """Whether to pack, and why not: (bool, None or the reason).

        key: share_prefix or pack_pairs.   wanted: its value, None = where it is exact.
        longest: tokens of the longest row or sentence.   shares: whether what is packed also sees a shared prefix.
        Raises InputError where it is wanted and would not be exact.
        """
        if wanted is False:
            return False, None
        reason, others = None, self._other_kinds()
        if self.attention in ENDS and shares:
            reason = f"{self.attention} lets a row see itself alone, no shared prefix; sdpa, eager and {FLEX} do"
        elif self.attention not in MASKED + ENDS:
            reason = f"attn_implementation {self.attention} does not take a block mask, {', '.join(MASKED)} do"
        elif others:
            reason = f"layers of kind {others} take no block mask"
        elif self.border is not None and longest > self.border:
            reason = self._past(longest)
        if reason and wanted:
            raise InputError(f"{key} is not possible: {reason}; delete {key}.")
        return reason is None, reason

    def require_passes(self, key, longest):
        """Refuse to send a half through in several passes where that would change it.   Raises InputError.

        key: task_tokens_per_batch or align_chunk_size.   longest: tokens of the longest row or sentence.
        """
        if self.balance and key == "task_tokens_per_batch":
            raise InputError(
                f"{key} is not possible: the loss that balances experts is one of all tokens of a micro-batch; delete "
                f"{key}, or set router_aux_loss_coef: 0."
            )
        if self.border is not None and longest > self.border:
            raise InputError(f"{key} is not possible: {self._past(longest)}; delete {key} or leave out longer rows.")

    def require_answers(self, longest):
        """Refuse to generate where what prompts share cannot be computed once for all.   Raises InputError.

        longest: tokens of the longest prompt and its answer.
        """
        if others := self._other_kinds():
            raise InputError(
                f"this model keeps its past in layers of kind {others}, but our generation is exact for full and "
                "sliding-window attention only; use `lm_eval` where it has this task."
            )
        if self.border is not None and longest > self.border:
            raise InputError(
                f"our generation is not possible: {self._past(longest)}; lower max_new_tokens, or use "
                "`lm_eval` where it has this task."
            )

    def _other_kinds(self):
        return ", ".join(sorted(self.kinds - {FULL, SLIDING}))

    def _past(self, longest):
        return f"positions past {self.border} tokens depend on the longest row of a pass, and a row has {longest}"


def _border(config):
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope] if "rope_type" in rope else [kind for kind in rope.values() if isinstance(kind, dict)]
    borders = {
        "longrope": lambda kind: kind["original_max_position_embeddings"],
        "dynamic": lambda kind: config.max_position_embeddings,
    }
    return min((borders[kind["rope_type"]](kind) for kind in kinds if kind["rope_type"] in borders), default=None)
