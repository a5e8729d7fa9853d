"""GGUF for llama.cpp and Ollama: llama.cpp's own converter, a Modelfile out of the tokenizer, and a look at both.

A chat template in Jinja cannot be translated into Ollama's Go templates as such. What it writes around each turn can be
read off it, and a template that only writes turns one after the other is exactly that.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from midalign.errors import InputError
from midalign.models.loading import load_tokenizer

CONVERTER = "convert_hf_to_gguf.py"
INSTRUCTION = (
    f"no {CONVERTER} here; git clone https://github.com/ggml-org/llama.cpp, pip install -r "
    "llama.cpp/requirements/requirements-convert_hf_to_gguf.txt, and name it with --converter "
    f"llama.cpp/{CONVERTER}"
)
MODEL, MODELFILE = "model.gguf", "Modelfile"
MARKS = ("\ue001", "\ue002", "\ue003")  # private use: no template writes them


def find_converter(named):
    """The path of llama.cpp's converter.   named: as the user said, else it is looked for.   Raises InputError."""
    found = Path(named) if named else shutil.which(CONVERTER)
    if not found or not Path(found).is_file():
        raise InputError(f"{named} is no file; {INSTRUCTION}." if named else f"{INSTRUCTION}.")
    return Path(found)


def to_gguf(folder, converter, outtype):
    """Write model.gguf into an exported folder.   outtype: f32, f16, bf16 or q8_0.   Raises InputError."""
    command = [sys.executable, str(converter), str(folder), "--outfile", str(folder / MODEL), "--outtype", outtype]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"llama.cpp's converter refuses {folder}: {last}; the safetensors in it are whole.")


def turns(tokenizer):
    """What the chat template writes around each turn: {role: (before, after)} and the header of an answer.

    Returns (dict, str), BOS left out. Raises InputError for a template that does more than write turn after turn.
    """

    def render(messages, **kwargs):
        text = tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)
        return text.removeprefix(tokenizer.bos_token or "")

    system, user, answer = ({"role": role, "content": mark} for role, mark in zip(ROLES, MARKS, strict=True))
    again = {"role": "user", "content": MARKS[0]}
    whole = render([user, answer, again])
    before, between, after_answer, after = _split(whole, [MARKS[1], MARKS[2], MARKS[0]])
    header = render([user], add_generation_prompt=True).partition(MARKS[1])[2]
    found = {"user": (before, after), "assistant": (between.removeprefix(after), after_answer.removesuffix(before))}
    with_system = render([system, user])
    lead, middle, tail = _split(with_system, [MARKS[0], MARKS[1]])
    found["system"] = (lead, middle.removesuffix(before))
    rebuilt = "".join(found[m["role"]][0] + m["content"] + found[m["role"]][1] for m in (system, user, answer, again))
    if rebuilt != render([system, user, answer, again]) or not header.startswith(after) or tail != after:
        raise InputError("this chat template does more than write one turn after another; write the Modelfile by hand.")
    return found, header.removeprefix(after)


ROLES = ("system", "user", "assistant")


def _split(text, marks):
    parts = []
    for mark in marks:
        part, found, text = text.partition(mark)
        if not found:
            raise InputError("this chat template leaves a message out; write the Modelfile by hand.")
        parts.append(part)
    return [*parts, text]


def modelfile(tokenizer, stop):
    """The text of an Ollama Modelfile; BOS is llama.cpp's to add.   stop: texts that end an answer."""
    around, header = turns(tokenizer)
    pieces = "".join(
        f'{{{{- if eq .Role "{role}" }}}}{_literal(before)}{{{{ .Content }}}}{_literal(after)}{{{{- end }}}}'
        for role, (before, after) in around.items()
    )
    template = f"{{{{- range .Messages }}}}{pieces}{{{{- end }}}}{_literal(header)}"
    stops = "".join(f"PARAMETER stop {_quoted(text)}\n" for text in stop)
    return f'FROM ./{MODEL}\nTEMPLATE """{template}"""\nPARAMETER temperature 0\n{stops}'


def _literal(text):
    """Text as a Go template writes it, its white space safe from the `-` of neighbours."""
    return f"{{{{ {_quoted(text)} }}}}" if text else ""


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def write(folder, converter, outtype):
    """model.gguf and a Modelfile into an exported folder.   Returns `same_tokens` of one prompt. Raises InputError."""
    tokenizer = load_tokenizer(str(folder), None)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Größe 3, ok? Наташа 東京"}]
    text = modelfile(tokenizer, [tokenizer.eos_token])
    to_gguf(folder, converter, outtype)
    (folder / MODELFILE).write_text(text, encoding="utf-8")
    return same_tokens(
        folder, tokenizer, tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    )


def same_tokens(folder, tokenizer, text):
    """Whether llama.cpp cuts a rendered prompt into the tokenizer's ids; None without `llama-cpp-python`."""
    try:
        from llama_cpp import Llama
    except ImportError:
        return None
    model = Llama(str(Path(folder) / MODEL), vocab_only=True, verbose=False)
    body = text.removeprefix(tokenizer.bos_token or "")
    theirs = model.tokenize(body.encode(), add_bos=False, special=True)
    return theirs == tokenizer(body, add_special_tokens=False)["input_ids"]
