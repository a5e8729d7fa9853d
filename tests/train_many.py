"""Trains several recipes one after the other, in one launch: importing costs more than the training here.

accelerate launch tests/train_many.py COMMAND_LINES.json   (a list of what src/run_midalign.py would be given)
"""

import json
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState

from midalign.training.engines import part
from midalign.training.job import run

for argv in json.loads(Path(sys.argv[1]).read_text()):
    AcceleratorState._reset_state()  # each run reads the engine's settings anew; the processes stay connected
    GradientState._reset_state()
    run(argv, show=False)
part()
