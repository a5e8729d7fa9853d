"""Recipe -> train -> save -> score, as a command line.

accelerate launch src/run_midalign.py recipes/tiny/align.yaml [--key value ...]
"""

import logging
import sys

from midalign.errors import InputError, MidalignError
from midalign.training.job import run


def main(argv):
    """Run one recipe. One sentence and the error's exit code (`midalign.errors`) when it cannot go on."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("midalign").setLevel(logging.INFO)
    try:
        run(argv)
    except MidalignError as error:
        bar = "\n" if error.exit_code > InputError.exit_code else ""  # a progress bar has left the cursor in its line
        print(f"{bar}error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
