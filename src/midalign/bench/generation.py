"""How fast our generation is beside lm-eval's, in one run on one machine."""

import statistics
import time

from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from midalign.evaluation.generation import generate
from midalign.evaluation.lm_link import LM_TASKS
from midalign.tasks import find_task
from midalign.tasks.thoughts import without_thought


def compare_generation(model, tokenizer, data, revision, locales, rows, batch_size, max_new_tokens, repeats, progress):
    """Answer the same rows with our `generate` and with `lm_eval --model hf`, in turn.

    data, revision: as task_data and task_revision in a recipe.   rows: the first of each locale's test rows.
    progress: rich's, which shows whose turn it is.
    Ours is timed from chats to text; theirs from rendered prompts to text, without the loading of tasks.
    Returns {"rows", "ours", "lm_eval" (rows per second, medians), "ratio", "equal" (share of equal answers)}.
    """
    bar = progress.add_task("reading test rows", total=2 * repeats)
    task, metadata = find_task("slots"), {"task_data": data, "task_revision": revision}
    manager = TaskManager(include_path=str(LM_TASKS), include_defaults=False, metadata=metadata)
    harness = HFLM(model, tokenizer=tokenizer, batch_size=batch_size)
    requests = []
    for one in manager.load([f"massive_slots_{locale}" for locale in locales])["tasks"].values():
        one.build_all_requests(limit=rows, apply_chat_template=True, chat_template=harness.apply_chat_template)
        requests += one.instances
    for request in requests:
        request.arguments[1]["max_gen_toks"] = max_new_tokens
    chats = [task.prompt(request.doc) for request in requests]

    generate(model, tokenizer, chats[:batch_size], batch_size, 2)  # what only the first call costs is nobody's
    seconds = {"ours": [], "lm_eval": []}
    for _ in range(repeats):
        progress.update(bar, description="midalign answers")
        start = time.perf_counter()
        ours = generate(model, tokenizer, chats, batch_size, max_new_tokens)
        seconds["ours"].append(time.perf_counter() - start)
        progress.update(bar, advance=1, description="lm_eval answers")
        start = time.perf_counter()
        theirs = harness.generate_until(requests, disable_tqdm=True)
        seconds["lm_eval"].append(time.perf_counter() - start)
        progress.advance(bar)
    rates = {name: len(requests) / statistics.median(taken) for name, taken in seconds.items()}
    equal = sum(a == without_thought(b) for a, b in zip(ours, theirs, strict=True)) / len(requests)
    return {"rows": len(requests), **rates, "ratio": rates["ours"] / rates["lm_eval"], "equal": equal}
