"""Where packing is exact, and where it is off with a reason."""

from types import SimpleNamespace

import pytest

from midalign.errors import InputError
from midalign.training.checks import check_task_tokens, packs


def config(attention="sdpa", **fields):
    return SimpleNamespace(_attn_implementation=attention, **fields)


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (config("flash_attention_2"), "does not take a block mask"),
        (config(sliding_window=16), "sliding window of 16 tokens, but a row has 17"),  # Mistral: a window in all layers
        (config(sliding_window=16, layer_types=["full_attention", "sliding_attention"]), "sliding window of 16 tokens"),
        (config(layer_types=["full_attention", "linear_attention"]), "of kind linear_attention take no block mask"),
    ],
)
def test_packing_is_off_where_it_would_not_be_exact(decoder, reason):
    on, why = packs("share_prefix", None, decoder, 17)
    assert not on and reason in why
    with pytest.raises(InputError, match="share_prefix is not possible"):
        packs("share_prefix", True, decoder, 17)


@pytest.mark.parametrize(
    "decoder",
    [
        config(),
        config("eager", sliding_window=None),
        config(sliding_window=17),
        config(sliding_window=4, layer_types=["full_attention"]),  # Qwen2: a window that no layer uses
        config(sliding_window=17, layer_types=["full_attention", "sliding_attention"]),
    ],
)
def test_packing_is_on_where_rows_fit(decoder):
    assert packs("share_prefix", None, decoder, 17) == (True, None)
    assert packs("share_prefix", False, decoder, 17) == (False, None)


def test_packing_is_off_beside_a_loss_that_balances_experts():
    assert packs("share_prefix", None, config(), 17, experts=True)[0] is False


def test_a_row_longer_than_a_pass_is_refused():
    check_task_tokens(17, 17)
    with pytest.raises(InputError, match="task_tokens_per_batch is 16, but a row has 17 tokens"):
        check_task_tokens(16, 17)
