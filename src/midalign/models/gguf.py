"""GGUF for llama.cpp and Ollama: llama.cpp's own converter, a Modelfile out of the tokenizer, and a look at both.

A chat template in Jinja cannot be translated into Ollama's Go templates as such. What it writes around each turn can be
read off it, and a template that only writes turns one after the other is exactly that.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from midalign.data.templates import ERRORS, end_of_turn
from midalign.errors import InputError
from midalign.models.loading import load_tokenizer

CONVERTER = "convert_hf_to_gguf.py"
INSTRUCTION = (
    f"no {CONVERTER} here; git clone https://github.com/ggml-org/llama.cpp, pip install -r "
    "llama.cpp/requirements/requirements-convert_hf_to_gguf.txt, and name it with --converter "
    f"llama.cpp/{CONVERTER}"
)
MODEL, MODELFILE = "model.gguf", "Modelfile"
WORDS = {True: "yes", False: "no: do not use the file", None: "not compared: llama-cpp-python is not installed"}
MARKS = ("\ue001Be", "\ue002Be", "\ue003Be")  # private use: no template writes them; one that changes case shows


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
    if done.returncode or not (folder / MODEL).is_file():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"llama.cpp's converter refuses {folder}: {last}; the safetensors in it are whole.")


ROLES = ("system", "user", "assistant")


def turns(tokenizer):
    """What the chat template writes around each turn: ({role: (before, after)}, default system turn, answer's header).

    Without the BOS that llama.cpp adds. Raises InputError for a template that does more than write turn after turn.
    """

    def render(messages, **kwargs):
        try:
            return _without_bos(tokenizer, tokenizer.apply_chat_template(messages, tokenize=False, **kwargs))
        except ERRORS as error:
            raise InputError(f"this chat template refuses a chat ({error}); write the Modelfile by hand") from error

    def built(messages, system):
        return system + "".join(around[m["role"]][0] + m["content"] + around[m["role"]][1] for m in messages)

    system, user, answer = ({"role": role, "content": mark} for role, mark in zip(ROLES, MARKS, strict=True))
    lead, middle, after_user = _split(render([system, user]), MARKS[:2])
    before_user = middle.removeprefix(after_user)  # every turn ends in the same way
    first, between, after_answer, _ = _split(render([user, answer, user]), (*MARKS[1:], MARKS[1]))
    around = {
        "system": (lead, middle.removesuffix(before_user)),
        "user": (before_user, after_user),
        "assistant": (between.removeprefix(after_user), after_answer.removesuffix(before_user)),
    }
    default = first.removesuffix(before_user)
    header = render([user], add_generation_prompt=True).partition(MARKS[1])[2].removeprefix(after_user)
    chats = ([system, *[user, answer] * 3, user], ""), ([*[user, answer] * 3, user], default)
    asked = render([system, user, answer, user], add_generation_prompt=True)
    if any(built(*chat) != render(chat[0]) for chat in chats) or not asked.endswith(after_user + header):
        raise InputError("this chat template does more than write turn after turn; write the Modelfile by hand")
    return around, default, header


def _without_bos(tokenizer, text):
    """A rendered chat without the BOS that llama.cpp will add, as the tokenizer does to plain text."""
    adds_one = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return text.removeprefix(tokenizer.bos_token) if adds_one else text


def _split(text, marks):
    parts = []
    for mark in marks:
        part, found, text = text.partition(mark)
        if not found:
            raise InputError("this chat template leaves a message out; write the Modelfile by hand")
        parts.append(part)
    return [*parts, text]


def modelfile(tokenizer, stop):
    """The text of an Ollama Modelfile.   stop: texts that end an answer.   Raises InputError."""
    around, default, header = turns(tokenizer)
    pieces = "".join(
        f'{{{{- if eq .Role "{role}" }}}}{_literal(before)}{{{{ .Content }}}}{_literal(after)}{{{{- end }}}}'
        for role, (before, after) in around.items()
    )
    start = f"{{{{- if not .System }}}}{_literal(default)}{{{{- end }}}}" if default else ""
    template = f"{start}{{{{- range .Messages }}}}{pieces}{{{{- end }}}}{_literal(header)}"
    stops = "".join(f"PARAMETER stop {_quoted(text)}\n" for text in stop)
    return f'FROM ./{MODEL}\nTEMPLATE """{template}"""\nPARAMETER temperature 0\n{stops}'


def _literal(text):
    """Text as a Go template writes it, its white space safe from the `-` of neighbours."""
    return f"{{{{ {_quoted(text)} }}}}" if text else ""


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def write(folder, converter, outtype):
    """model.gguf and, where the chat template allows it, a Modelfile into an exported folder.

    Returns [(what, finding)] to be shown. Raises InputError.
    """
    tokenizer = load_tokenizer(str(folder), None)
    to_gguf(folder, converter, outtype)
    found = [("GGUF cuts a prompt like the tokenizer", WORDS[same_tokens(folder, tokenizer)])]
    try:
        text = modelfile(tokenizer, [end_of_turn(tokenizer).text])
    except InputError as error:
        return [*found, (MODELFILE, f"not written: {error}. model.gguf holds the template itself")]
    (folder / MODELFILE).write_text(text, encoding="utf-8")
    return [*found, (MODELFILE, "ollama create NAME -f Modelfile")]


def same_tokens(folder, tokenizer):
    """Whether llama.cpp cuts a rendered prompt into the tokenizer's ids; None without `llama-cpp-python`."""
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Größe 3, ok? Наташа 東京"}]
    text = " ".join(message["content"] for message in chat)
    if tokenizer.chat_template is not None:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    try:
        from llama_cpp import Llama
    except ImportError:
        return None
    model = Llama(str(Path(folder) / MODEL), vocab_only=True, verbose=False)
    body = _without_bos(tokenizer, text)
    theirs = model.tokenize(body.encode(), add_bos=False, special=True)
    return theirs == tokenizer(body, add_special_tokens=False)["input_ids"]
