"""Recipe -> train -> save -> score, as a command line.

midalign train RECIPE [--key value ...]
accelerate launch -m midalign.train RECIPE [--key value ...]           one or several processes
accelerate launch src/run_midalign.py RECIPE [--key value ...]         the same in a checkout
"""

import os
import sys

from midalign.console import complain, program
from midalign.errors import InputError, MidalignError, StoppedError


def main(argv):
    """Run one recipe. One sentence and the error's exit code (`midalign.errors`) when it cannot go on."""
    with program():
        try:
            if {"-h", "--help"} & {*argv}:
                return _help()
            from midalign.training.engines import part  # here: packages say and read things when imported
            from midalign.training.job import run

            run(argv)
            part()
        except MidalignError as error:
            return _end(error)
        except KeyboardInterrupt:
            return _end(StoppedError("stopped before training has begun."))
    return 0


def _end(error):
    """Say how it ended; of several processes that are stopped together, the first."""
    if not isinstance(error, StoppedError) or os.environ.get("RANK", "0") == "0":
        bar = "\n" if error.exit_code > InputError.exit_code else ""  # a progress bar has left the cursor in its line
        complain(error, bar)
    return error.exit_code


def _help():
    """What there is to set, with the defaults."""
    from dataclasses import MISSING, fields

    from trl import SFTConfig

    from midalign.config import DataConfig, MidAlignConfig

    print(f"{__doc__}\nKeys, in the recipe (key: value) or after it (--key value, which wins):\n")
    inherited = {field.name for field in fields(SFTConfig)}
    for field in [*fields(DataConfig), *(own for own in fields(MidAlignConfig) if own.name not in inherited)]:
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if isinstance(default, list):  # as on the command line
            default = " ".join(map(str, default))
        print(f"  {field.name} ({default})\n      {field.metadata['help']}")
    print("\nAlso every key of TRL's SFTConfig and ModelConfig; `midalign recipes keys` shows the ones worth knowing.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
