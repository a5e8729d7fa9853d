"""The one error that users see. A file of its own, so that what needs no torch can raise it."""


class InputError(ValueError):
    """A mistake in a recipe or a data file. Shown as one sentence, without a traceback; exit code 2."""
