"""What `analysis.layers.measure` costs: CPU minutes and memory of 35 languages in all 1,190 directions.

python tests/analysis/many_directions.py       (1,000 sentences, 19 states of width 640 as in Gemma 3 270M; 2 GB)
"""

import resource
import time
from itertools import combinations

import torch

from midalign.analysis.layers import measure
from midalign.analysis.sides import Side

LANGUAGES, SENTENCES, STATES, WIDTH = 35, 1000, 19, 640


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    units = torch.arange(SENTENCES)
    sides = [Side(f"language {i}", units + i * SENTENCES, units) for i in range(LANGUAGES)]
    couples = list(combinations(range(LANGUAGES), 2))
    states = torch.randn(STATES, LANGUAGES * SENTENCES, WIDTH)
    held = peak_mib()
    print(f"states of all layers: {states.nbytes / 2**20:,.0f} MiB", flush=True)
    for some, layers in ((couples[: LANGUAGES - 1], 1), (couples, 1), (couples, STATES)):
        start = time.process_time()
        measured = measure(states[:layers], sides, some)
        minutes, found = (time.process_time() - start) / 60, measured.right.sum(axis=1) / measured.asked.sum()
        print(
            f"{2 * len(some):5,} directions, {layers:2} layers: {minutes:.2f} CPU minutes, "
            f"{peak_mib() - held:,.0f} MiB beside the states (peak so far); "
            f"retrieval@1 {100 * found.mean():.2f} % (chance {100 / SENTENCES:.2f} %)",
            flush=True,
        )


if __name__ == "__main__":
    main()
