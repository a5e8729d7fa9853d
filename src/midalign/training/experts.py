"""The loss that balances the experts of a mixture: that of the rows as they are, whichever way they are packed."""

from contextlib import contextmanager

from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from midalign.errors import InputError


@contextmanager
def routers_of(decoder):
    """A list into which every forward pass of `decoder` in this block puts what its routers say.

    Each entry is a tuple of (B T, experts), one for each layer with experts. Asked for here and not by the model's
    configuration, the causal LM makes no loss of it: it would take a block mask for a mask of tokens, and a pair half
    would balance experts too.
    """
    found = []
    hooks = [
        decoder.register_forward_pre_hook(
            lambda _, args, kwargs: (args, kwargs | {"output_router_logits": True}), with_kwargs=True
        ),
        decoder.register_forward_hook(lambda _, args, output: found.append(output.get("router_logits"))),
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def balance_loss(routers, config, copies):
    """Switch Transformers' loss (arXiv 2101.03961, equations 4 to 6) over all layers, as transformers computes it.

    routers: an entry of `routers_of`.   config: the decoder's.
    copies: (B, T), of how many rows a token is a part: 0 for padding, n for the prefix that n rows share.
    Returns a scalar; where k experts of each token take equal turns, it is k.
    Raises InputError for an architecture that does not tell what its routers say.
    """
    if routers is None:
        raise InputError(
            f"router_aux_loss_coef is set, but {config.model_type} does not tell what its routers say; delete it."
        )
    return load_balancing_loss_func(routers, routers[0].size(-1), config.num_experts_per_tok, copies)


def take_over_balance(trainer):
    """The weight of the loss that balances experts, 0 without one; from now on `trainer` adds it, not SFTTrainer."""
    weight = trainer.router_aux_loss_coef if trainer.aux_loss_enabled else 0.0
    trainer.aux_loss_enabled = False
    config = trainer.model.config.get_text_config()
    if hasattr(config, "output_router_logits"):
        config.output_router_logits = False
    return weight
