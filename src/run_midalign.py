"""The card's script: `midalign train` as a file that `accelerate launch` starts.

accelerate launch src/run_midalign.py recipes/tiny/align.yaml [--key value ...]
"""

import sys

from midalign.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
