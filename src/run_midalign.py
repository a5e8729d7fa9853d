"""Recipe -> train -> save -> score, as a command line.

accelerate launch src/run_midalign.py recipes/tiny/align.yaml [--key value ...]
"""

import sys

from midalign.console import program
from midalign.errors import InputError, MidalignError


def main(argv):
    """Run one recipe. One sentence and the error's exit code (`midalign.errors`) when it cannot go on."""
    with program():
        from midalign.training.job import run  # here: packages say and read things when imported

        try:
            run(argv)
        except MidalignError as error:
            # A progress bar has left the cursor in its line.
            bar = "\n" if error.exit_code > InputError.exit_code else ""
            print(f"{bar}error: {error}", file=sys.stderr)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
