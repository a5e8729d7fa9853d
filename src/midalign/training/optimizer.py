"""Whether optimizer and schedule take the arguments that a recipe gives them, found before anything is read."""

import copy
import math

import torch
from transformers import Trainer, get_scheduler

from midalign.errors import InputError
from midalign.texts import quoted, squeeze

NEED_A_MODEL = ("galore", "apollo", "lomo", "adalomo")  # and check themselves when they get it


def check_optimizer(training):
    """Raises InputError for optim, optim_args, lr_scheduler_type and lr_scheduler_kwargs that do not go together."""
    if not training.optim.value.startswith(NEED_A_MODEL):
        _check_arguments(training)
    _check_schedule(training)


def _check_arguments(training):
    given = [part.strip() for part in training.optim_args.split(",")] if training.optim_args else []
    for part in given:
        if part.count("=") != 1 or "" in part.split("="):
            raise InputError(f"optim_args: found {quoted(part)}; write name=value, with commas between several.")
    kind, settings = _settings(training, given)
    try:
        kind([torch.nn.Parameter(torch.zeros(1))], **settings)
    except Exception as error:  # each optimizer has its own way to refuse a value
        raise InputError(f"optim {training.optim.value}: {squeeze(str(error))}; mend optim_args.") from error
    wrong = [value for value in settings.values() if isinstance(value, float) and not math.isfinite(value)]
    if wrong:
        raise InputError(f"optim_args: found {wrong[0]}; set it to a finite number.")
    for part in given:
        if _settings(training, [other for other in given if other != part])[1] == settings:
            raise InputError(
                f"optim_args: {quoted(part)} changes nothing, optim {training.optim.value} does not read it or has it "
                "already; delete it."
            )


def _settings(training, arguments):
    """(class, keyword arguments) of the optimizer."""
    own = copy.copy(training)
    own.optim_args = ",".join(arguments) or None
    try:
        return Trainer.get_optimizer_cls_and_kwargs(own)
    except Exception as error:  # a package that is missing, a text that is no number
        raise InputError(f"optim {training.optim.value}: {squeeze(str(error))}; mend optim or optim_args.") from error


def _check_schedule(training):
    steps = training.max_steps if training.max_steps > 0 else 1_000_000
    named = f"lr_scheduler_type {training.lr_scheduler_type.value}"
    try:
        schedule = get_scheduler(
            training.lr_scheduler_type,
            torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=training.learning_rate),
            num_warmup_steps=training.get_warmup_steps(steps),
            num_training_steps=steps,
            scheduler_specific_kwargs=training.lr_scheduler_kwargs,
        )
        factors = [way(step) for way in getattr(schedule, "lr_lambdas", ()) for step in (0, 1, steps // 2, steps)]
    except Exception as error:  # each schedule has its own way to refuse a value
        raise InputError(f"{named}: {squeeze(str(error))}; mend lr_scheduler_kwargs.") from error
    wrong = [factor for factor in factors if not (math.isfinite(factor) and factor >= 0)]
    if wrong or (factors and not any(factors)):
        raise InputError(
            f"{named} would multiply the learning rate by {(wrong or factors)[0]:g}; mend lr_scheduler_kwargs, so that "
            "every factor is 0 or more and some are above."
        )
