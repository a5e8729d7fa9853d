"""`midalign <verb>`.

Heavy imports wait until a verb runs: `midalign --help` and completion load none, `midalign score` no torch.
"""

import sys

from midalign.cli import (  # noqa: F401  each adds its verbs
    bench,
    evaluation,
    layers,
    merging,
    preview,
    recipes,
    report,
    scores,
    train,
)
from midalign.cli.app import app
from midalign.console import complain, program
from midalign.errors import MidalignError


def main():
    """The console script. One sentence and the error's exit code when it cannot go on."""
    with program():
        try:
            app(prog_name="midalign")
        except MidalignError as error:
            complain(error)
            sys.exit(error.exit_code)
