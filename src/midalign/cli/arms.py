"""What `midalign evaluate` is told to compare: runs, files of their counts, and arms of several runs."""

import os
from collections import Counter
from typing import NamedTuple

from midalign.errors import InputError
from midalign.texts import shown


class Member(NamedTuple):
    """One run as named on the command line."""

    arm: str | None  # None where it stands by itself
    place: str  # a recipe, a folder, a name on the hub, or a file of counts

    @property
    def is_counts(self):
        return self.place.endswith(".json") and not os.path.isdir(self.place)


def members(arguments):
    """["task=a,b", "task=c", "d"] -> the members of arm task, and d by itself.

    A path that is there is no arm, whatever its name; nor is one after the `=` several runs. Raises InputError.
    """
    found = []
    for argument in arguments:
        arm, sign, rest = argument.partition("=")
        if not sign or "/" in arm or os.path.exists(argument):
            found.append(Member(None, argument))
            continue
        places = [rest] if os.path.exists(rest) else rest.split(",")
        if not (arm and all(places)):
            raise InputError(f"{shown(argument)} names no run; write an arm as NAME=RUN,RUN,... or NAME=RUN repeated.")
        found += [Member(arm, place) for place in places]
    return found


def arms_of(named):
    """{arm: its runs}, in order.   named: [(arm or None, name of a run)].

    Raises InputError where an arm or a run has the name of another.
    """
    arms = {}
    for arm, name in named:
        arms.setdefault(arm or name, []).append(name)
    most, times = Counter(name for _, name in named).most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} runs are called {shown(most)}; name each once, or rename a folder.")
    alone = {name for arm, name in named if arm is None}
    both = next((arm for arm, _ in named if arm in alone), None)
    if both:
        raise InputError(f"a run and an arm are called {shown(both)}; rename the folder or the arm.")
    return arms


def require_seeds(arms, seeds):
    """Refuse two runs of an arm with one seed.   seeds: {run: seed or None}. Raises InputError."""
    for arm, runs in arms.items():
        of_seed = {}
        for run in runs:
            of_seed.setdefault(seeds[run], []).append(run)
        for seed, same in of_seed.items():
            if seed is not None and len(same) > 1:
                raise InputError(
                    f"{' and '.join(map(shown, same))} of arm {shown(arm)} have seed {seed}; runs of an arm differ in "
                    "their seed, what else differs is an arm of its own."
                )
