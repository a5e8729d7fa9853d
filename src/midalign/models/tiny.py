"""The embedded model: a four-layer decoder and its tokenizer. Its weights ship in tiny.safetensors, made by

    python -m midalign.models.tiny

from the demo corpus in about a minute. It learns the demo languages as plain text, each on its own: no labels, no
translations. Half of the text repeats or quotes itself, as chats too: a model must be able to copy words, or no answer
could hold a foreign one.
"""

import hashlib
import inspect
import json
import random
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from midalign.demo.corpus import DEMO_LOCALES, plain_text
from midalign.errors import InputError
from midalign.tasks.slots.massive import INSTRUCTION, SLOTS

WEIGHTS = Path(__file__).with_suffix(".safetensors")
HIDDEN, LAYERS, HEADS, INTERMEDIATE, ROPE_THETA = 128, 4, 4, 384, 100.0
INITIAL_STD = 0.08  # the usual 0.02 is for wide models: this one would take twice as long to learn to copy
STEPS, BATCH, LENGTH, LEARNING_RATE = 400, 12, 72, 4e-3
SEED = 0
BOS, TURN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_model(cache_dir):
    """Path of the embedded model in `cache_dir`; written there when it is missing.

    The folder's name holds a hash of the weights and of what they are made of. It is written beside its place and
    renamed, so a process that is cut off leaves nothing that looks finished.
    Raises InputError where the weights were made of another corpus or code.
    """
    tokenizer = build_tokenizer()
    made_of = fingerprint(tokenizer)
    path = Path(cache_dir) / f"tiny-model-{hashlib.sha256(made_of.encode() + WEIGHTS.read_bytes()).hexdigest()[:12]}"
    if path.is_dir():
        return path
    model = pretrained_model(tokenizer, made_of)
    Path(cache_dir).mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=cache_dir))
    model.save_pretrained(work)
    tokenizer.save_pretrained(work)
    try:
        work.rename(path)
    except OSError:  # another process was faster
        shutil.rmtree(work)
    return path


def fingerprint(tokenizer):
    """Hash of all that the weights depend on: corpus, vocabulary, sizes, code. A str of 12 hexadecimal digits."""
    texts = [plain_text(locale) for locale in DEMO_LOCALES]
    sizes = [HIDDEN, LAYERS, HEADS, INTERMEDIATE, ROPE_THETA, INITIAL_STD, STEPS, BATCH, LENGTH, LEARNING_RATE, SEED]
    code = [inspect.getsource(part) for part in (initial_model, pretrain, document)]
    made_of = json.dumps([texts, sorted(tokenizer.get_vocab().items()), CHATML, sizes, code])
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]


def pretrained_model(tokenizer, made_of):
    """The model with the shipped weights, float32. Raises InputError where they were not made of `made_of`."""
    try:
        with safe_open(WEIGHTS, framework="pt") as file:
            found = (file.metadata() or {}).get("made_of")
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError):
        found = "something damaged"
    if found != made_of:
        raise InputError(
            f"{WEIGHTS} was made of {found}, and corpus and code here are {made_of}; install midalign again, or in a "
            "checkout with another corpus or code of the embedded model run python -m midalign.models.tiny."
        )
    model = initial_model(tokenizer)
    model.model.load_state_dict(weights)  # without the head, which is the embedding
    return model


def make_weights(path, steps=STEPS):
    """Pretrain the model and write its weights, float16, with the hash of what they are made of."""
    tokenizer = build_tokenizer()
    made_of = fingerprint(tokenizer)
    model = initial_model(tokenizer)
    pretrain(model, tokenizer, steps)
    part = path.with_suffix(".part")
    save_file(model.model.half().state_dict(), part, {"made_of": made_of})
    part.replace(path)


def build_tokenizer():
    """Whole words of the corpus and the prompt, a leading space in each; anything else in bytes. ChatML."""
    # A space before every word, also after a line break, makes a word the same token wherever it stands.
    normalizer = normalizers.Sequence(
        [
            normalizers.Prepend(" "),
            normalizers.Replace("\n", "\n "),
            normalizers.Replace(Regex(" $"), ""),
            normalizers.Replace(Regex(" (?=\\s)"), ""),
        ]
    )
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [text for locale in DEMO_LOCALES for text in plain_text(locale)]
    texts += [INSTRUCTION, "system\nuser\nassistant quote the", "1: 2: 3: 4:", " ".join(sorted(SLOTS)), "None : ; ;"]
    words = {word for text in texts for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text))}
    letters = sorted(split.alphabet())
    vocabulary = [BOS, TURN, END, *letters, *("▁" + letter for letter in letters), *sorted(words - set(letters))]
    backend = Tokenizer(
        models.WordPiece(
            {word: i for i, word in enumerate(vocabulary)},
            unk_token=BOS,
            continuing_subword_prefix="▁",
            max_input_chars_per_word=100_000,
        )
    )
    backend.normalizer, backend.pre_tokenizer = normalizer, split
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", ""),
            decoders.ByteLevel(),
            decoders.Replace("\n ", "\n"),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=END, pad_token=BOS, additional_special_tokens=[TURN]
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def initial_model(tokenizer):
    """A small Llama with random weights, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=HIDDEN,
                intermediate_size=INTERMEDIATE,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                num_key_value_heads=HEADS,
                max_position_embeddings=512,
                rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
                initializer_range=INITIAL_STD,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )


def pretrain(model, tokenizer, steps=STEPS):
    """Next-token training on plain text, every language in equal parts and never two in one document."""
    rng = random.Random(SEED)
    texts = {locale: plain_text(locale) for locale in DEMO_LOCALES}
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 30) * (1 - 0.9 * s / steps))
    model.train()
    for _ in tqdm(range(steps), desc="embedded model"):
        batch = []
        for row in range(BATCH):
            sentences, ids = texts[DEMO_LOCALES[row % len(DEMO_LOCALES)]], []
            while len(ids) < LENGTH:
                ids += document(rng, tokenizer, rng.choice(sentences))
            batch.append(ids[:LENGTH])
        batch = torch.tensor(batch)
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def document(rng, tokenizer, sentence):
    """Token ids of a sentence that is repeated, or of a chat that quotes parts of it in their order."""
    words = sentence.split()

    def quote():
        length = rng.randint(1, min(3, len(words)))
        start = rng.randrange(len(words) - length + 1)
        return start, " ".join(words[start : start + length])

    def quotes():
        return [text for _, text in sorted(quote() for _ in range(rng.randint(1, 4)))]

    if rng.random() < 0.5:
        lines = [sentence if rng.random() < 0.5 else "; ".join(quotes()) for _ in range(3)]
        return tokenizer(BOS + "\n".join([sentence, *lines]))["input_ids"]
    chat = [
        {"role": "system", "content": "quote the user"},
        {"role": "user", "content": sentence},
        {"role": "assistant", "content": "; ".join(f"{number}: {text}" for number, text in enumerate(quotes(), 1))},
    ]
    return tokenizer.apply_chat_template(chat, return_dict=False)


if __name__ == "__main__":
    make_weights(WEIGHTS)
