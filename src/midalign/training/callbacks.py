"""What happens around an optimizer step."""

from transformers import TrainerCallback

from midalign.data.schedule import is_align_step


class AlignLearningRate(TrainerCallback):
    """Scales the scheduled learning rate on alignment steps of the `alternate` schedule."""

    def __init__(self, ratio):
        self.ratio = ratio

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        # DeepSpeed takes its step inside the backward pass: before that is the only time that is right for all engines.
        self._scale(args, state, optimizer, self.ratio)

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self._scale(args, state, optimizer, 1 / self.ratio)

    def _scale(self, args, state, optimizer, factor):
        if is_align_step(args.align_schedule, state.global_step):
            for group in optimizer.param_groups:
                group["lr"] *= factor
