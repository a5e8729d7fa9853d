"""What a run can end with, each with the exit code of the program."""


class MidalignError(Exception):
    """One sentence: what was found, what is allowed, what to change."""

    exit_code = 1


class InputError(MidalignError, ValueError):
    """The user has something to mend before the run can start."""

    exit_code = 2


class NotFiniteError(MidalignError):
    """A loss or gradient is NaN or infinite."""

    exit_code = 3


class OutOfMemoryError(MidalignError):
    """The step does not fit the device."""

    exit_code = 4


class NoSignalError(MidalignError):
    """The alignment loss teaches nothing."""

    exit_code = 5


class WriteError(MidalignError):
    """What a run has made could not be written, or not be sent."""

    exit_code = 6


class StoppedError(MidalignError):
    """Somebody has pressed Ctrl-C."""

    exit_code = 130
