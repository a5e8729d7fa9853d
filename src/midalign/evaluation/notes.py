"""What the figures of a comparison mean, in sentences: what is an interval over, and what is it not."""

from midalign.evaluation import statistics
from midalign.texts import shown

NO_INTERVAL, NO_P = "no interval", "no p"
ONE_RUN = "They say nothing about training: another seed alone can move a mean by points, so compare several"


def compared_arms(result):
    """The arms that are set against the baseline: those after it. The models below adapters come before."""
    names = list(result["runs"])
    return names[names.index(result["baseline"]) + 1 :]


def several(result):
    """The arms of several runs."""
    return [arm for arm, own in result["runs"].items() if "each" in next(iter(own["languages"].values()))]


def over(result):
    """What intervals and p are over, to stand right beside them."""
    if not several(result):
        return "Intervals are over utterances, one run each."
    return (
        "Intervals of several runs are over seeds and utterances, those of one run, or between one run each, over "
        "utterances alone."
    )


def notes(result):
    """What the figures of a report mean, in sentences."""
    explained = f"{result['task']['explained']}. " if result["task"]["explained"] else ""
    said = [
        f"{explained[:1].upper()}{explained[1:]}Figures are in percent. Groups have the unweighted mean over their "
        "languages."
    ]
    if several(result):
        said.append(
            "Several runs have their mean. Their intervals are over seeds and utterances: mean ± √(t²v + z²w), v the "
            "variance of the mean between runs and t Student's for so few of them (4.3 for three, 2.8 for five), w the "
            "variance over utterances, by bootstrap, each in all its languages at once."
        )
    if len(several(result)) < len(result["runs"]):
        said.append(
            "Intervals of one run are bootstrap intervals over utterances, each in all its languages at once. "
            f"{ONE_RUN} (task=RUN,RUN,RUN aligned=RUN,RUN,RUN)."
        )
    if compared_arms(result):
        said += [*_pairings(result), _tests(result)]
    interval = f"{next(iter(result['task']['shown']))}_ci"
    if any(figures[interval] is None for figures in _all_figures(result)):
        said.append(f"{NO_INTERVAL}: under {statistics.FEWEST} rows in a language, or one value in every resample.")
    return said


def _pairings(result):
    """Between which runs gains are, where an arm has several."""
    runs, said = result["runs"], []
    for arm in compared_arms(result) if several(result) else []:
        shared, sides = runs[arm]["shared"], (arm, result["baseline"])
        gains = f"Gains of {shown(arm)}"
        if len(shared) > 1:
            said.append(f"{gains}: between runs of one seed, {', '.join(map(str, shared))}.")
        elif shared:
            said.append(f"{gains}: between the runs of seed {shared[0]} alone, over utterances, one run each.")
        else:
            alone = " and ".join(shown(own) for own in sides if own not in several(result))
            taken = f" {alone}: one run, taken as it is; what another seed would do to it is not in." if alone else ""
            said.append(f"{gains}: between the means of all runs, which share fewer than two known seeds.{taken}")
    return said


def _tests(result):
    """What p is."""
    permuted = (
        "paired permutation test over utterances, for “it makes no difference which of the two answered”. All "
        f"swaps are counted where {statistics.EXACT:,} or fewer differ, else {statistics.DRAWS:,} random ones."
    )
    seeded = "the level at which the interval of the gain begins to hold 0"
    p = f"{seeded}; between one run each, a {permuted}" if several(result) else permuted
    return f"p: {p} Holm and BH (Benjamini-Hochberg): p corrected for the number of languages."


def _all_figures(result):
    for run in result["runs"].values():
        yield from run["languages"].values()
        yield from run["groups"].values()
