"""What the start of a run takes with so many pairs and task rows: seconds to the end of the first step, and memory.

python tests/scale.py [--pairs 100000] [--rows 10000] [--processes 1]

Pairs are random words in twenty languages and English, task rows have MASSIVE's form, the model is two small layers;
all is made in a temporary folder (TMPDIR, half a KB a pair with what is kept of it), used twice and deleted.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ALPHABETS = {
    "abcdefghijklmnopqrstuvwxyzäöüß": "de nl sv da",
    "abcdefghijklmnopqrstuvwxyzáéíóúñç": "es pt fr it",
    "abcdefghijklmnopqrstuvwxyzğışçöü": "tr az",
    "абвгдежзийклмнопрстуфхцчшщыэюя": "ru uk bg",
    "αβγδεζηθικλμνξοπρστυφχψω": "el",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي": "ar fa",
    "कखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह": "hi mr",
    "abcdefghijklmnoprstuwyz": "sw id",
}
LETTERS = {language: letters for letters, languages in ALPHABETS.items() for language in languages.split()}
LETTERS["en"] = "abcdefghijklmnopqrstuvwxyz"
DDP = Path(__file__).parents[1] / "accelerate_configs" / "ddp.yaml"
WORDS = 20_000  # of a language
INTENTS = ("alarm_set", "play_music", "news_query", "weather_query")
RECIPE = """
model_name_or_path: {folder}/model
use_peft: true
lora_r: 4
lora_target_modules: [q_proj, v_proj]
task: intents
task_data: {folder}/rows
align_data: [{folder}/pairs]
on_bad_row: skip
align_layer: 1
align_batch_size: 32
per_device_train_batch_size: 16
activation_checkpointing: false
max_steps: 1
save_strategy: "no"
report_to: none
use_cpu: true
output_dir: {folder}/out
"""


def words_of(language, dice):
    letters = list(LETTERS[language])
    return np.array(["".join(dice.choice(letters, dice.integers(2, 7))) for _ in range(WORDS)], object)


def sentences(words, lengths, dice):
    """Of so many words each, a few of them in every other sentence and most of them seldom, as in a language."""
    drawn = words[(WORDS ** dice.random(lengths.sum())).astype(int) - 1]
    return map(" ".join, np.split(drawn, lengths.cumsum()[:-1]))


def write_pairs(folder, count, words, dice):
    folder.mkdir()
    for number, language in enumerate(sorted(LETTERS.keys() - {"en"})):
        with open(folder / f"{language}-en.tsv", "w", encoding="utf-8") as file:
            left = count // 20 + (number < count % 20)
            while left > 0:
                lengths = dice.integers(2, 6, min(left, 10_000))
                both = (sentences(words[name], lengths, dice) for name in (language, "en"))
                file.writelines(f"{source}\t{target}\n" for source, target in zip(*both, strict=True))
                left -= 10_000


def write_rows(folder, count, words, dice):
    (folder / "en-US").mkdir(parents=True)
    texts = sentences(words["en"], dice.integers(3, 10, count), dice)
    with open(folder / "en-US" / "train.jsonl", "w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            row = {"id": str(number), "locale": "en-US", "partition": "train", "utt": f"{text} {number}"}
            file.write(json.dumps({**row, "intent": INTENTS[number % len(INTENTS)]}) + "\n")


def write_model(folder, words):
    """Two small layers and a tokenizer of 16,000 pieces of these words."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=16_000, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator((" ".join(own[:5_000]) for own in words.values()), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=special[1], pad_token=special[1])
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)


def measured(command, environment):
    """(seconds, CPU seconds of all processes, the most GiB that one of them has with mapped files, and without)."""
    before, start, own = resource.getrusage(resource.RUSAGE_CHILDREN), time.time(), [0]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def watch():
        while child.poll() is None:
            with contextlib.suppress(OSError, psutil.Error):  # one has ended
                for process in (psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)):
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
                    own[0] = max(own[0], *map(int, found or [0]))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = child.wait()
    watcher.join()
    if code:
        sys.exit(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.time() - start, cpu, after.ru_maxrss / 2**20, own[0] / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, dice = Path(name), np.random.default_rng(1)
        words = {language: words_of(language, dice) for language in LETTERS}
        write_pairs(folder / "pairs", options.pairs, words, dice)
        write_rows(folder / "rows", options.rows, words, dice)
        write_model(folder / "model", words)
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE.format(folder=folder))
        command = [sys.executable, "-m", "midalign.train", str(recipe)]
        if options.processes > 1:
            launch = ["-m", "accelerate.commands.launch", "--config_file", str(DDP)]
            command = [sys.executable, *launch, "--num_processes", str(options.processes), *command[1:]]
        environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache")}
        for turn in ("first", "second"):
            seconds, cpu, peak, own = measured([*command, "--output_dir", str(folder / turn)], environment)
            print(
                f"{turn} start, {options.pairs:,} pairs, {options.rows:,} rows, {options.processes} process(es): "
                f"{seconds:.0f} s, {cpu:.0f} s of CPU, peak {peak:.2f} GiB, {own:.2f} without mapped files",
                flush=True,
            )
        size = sum(file.stat().st_size for file in (folder / "cache").rglob("*") if file.is_file())
        print(f"kept: {size / 2**20:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
