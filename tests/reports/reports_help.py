"""What run folders hold that no training has made."""

RECIPE = {
    **{"model_name_or_path": "some/model", "task": "slots", "align_data": ["pairs"], "align_layer": 9, "seed": 1},
    **{"output_dir": "a", "learning_rate": 0.0005, "hub_token": "<HUB_TOKEN>"},
}
RECORD = {
    **{"recipe": RECIPE, "engine": "single", "seconds": 90.0, "packages": {"torch": "2.13.0"}, "metrics": []},
    "tasks": [{"name": "slots", "shown": {"f1": "slot F1", "found": "slot found"}, "languages": ["en-US"]}],
    "data": {"task_rows": 100, "task_sha256": "abc", "pairs": {"de": 50}},
    "scores": {"en-US": {"f1": 0.9, "found": 0.95}, "de-DE": {"f1": 0.25, "found": 0.5}},
}


def history(steps=5, **more):
    return [
        {"step": step, "epoch": step / steps, "loss/task": 2.0 / step, "grad_norm": 1.0, **more}
        for step in range(1, steps + 1)
    ]
