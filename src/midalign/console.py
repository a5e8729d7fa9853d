"""What a terminal, a pipe or a log file gets to see, whatever letters it takes and however wide it is."""

import codecs
import io
import logging
import os
import sys
import warnings
from contextlib import contextmanager

from rich.console import Console

from midalign.texts import harmless, without_secrets

# Letters that stand in, one for one so that columns stay columns; any other becomes its escape, \u0434.
STAND_INS = {
    **{"⟦": "[", "⟧": "]", "█": "#", "…": "~", "━": "-", "╸": "-", "╺": "-"},
    **{"–": "-", "—": "-", "→": ">", "•": "*", "’": "'", "“": '"', "”": '"', "\u00a0": " "},
}
UNLIMITED = 10_000  # columns: no table is squeezed, no line broken
# Said by packages when they are imported: true on every machine without a GPU, and of no use to anybody there.
CHATTER = {
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU",
    "DeepSpeed": "Setting accelerator to CPU",
}
# PEFT 0.21 asks by a name that transformers 5.24 replaced: nothing that a user set, or could change.
RENAMED = r"`is_gradient_checkpointing` is deprecated"


@contextmanager
def program():
    """Around everything that a program does, its heavy imports included.

    What our code logs goes to stderr, with escapes in place of what steers a terminal. Letters that stdout or stderr
    cannot take are replaced. Where stderr is no terminal, packages draw no progress bars there. A reader that has gone
    (`midalign preview ... | head`) ends the program without a traceback.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Harmless("%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("midalign").setLevel(logging.INFO)
    codecs.register_error("midalign", _stand_in)
    for stream in (sys.stdout, sys.stderr):  # None where it was closed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="midalign")
    for name, beginning in CHATTER.items():
        logging.getLogger(name).addFilter(lambda record, beginning=beginning: not str(record.msg).startswith(beginning))
    warnings.filterwarnings("ignore", message=RENAMED)
    if sys.stderr is None or not sys.stderr.isatty():
        for package in ("HF_HUB", "HF_DATASETS"):
            os.environ.setdefault(f"{package}_DISABLE_PROGRESS_BARS", "1")
    try:
        yield
    except BrokenPipeError:
        if _flushed():
            raise  # a pipe to somebody else, such as a process that tokenises
        sys.exit(1)
    finally:
        _flushed()


def complain(error, before=""):
    """The sentence that a program ends with, on stderr: on one line, whatever names and texts of others it repeats."""
    print(f"{before}error: {harmless(without_secrets(str(error)), breaks=False)}", file=sys.stderr)


class _Harmless(logging.Formatter):
    def format(self, record):
        return harmless(super().format(record))


def console():
    """A rich Console for stdout that shows text as it is: brackets and colons in data are no markup.

    A terminal has its own width, anything else what tables need, unless COLUMNS says otherwise.
    """
    found = Console()
    wide = not found.is_terminal or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    columns = os.environ.get("COLUMNS", "")  # which rich does not ask on a dumb terminal
    size = {"width": int(columns) if columns.isdecimal() else UNLIMITED, "height": 25} if wide else {}
    return Console(**size, markup=False, emoji=False, highlight=False)


def _stand_in(error):
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(STAND_INS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in letters), error.end


def _flushed():
    """Whether stdout and stderr still have readers; one without is pointed nowhere, for later flushes."""
    alive = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            alive = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return alive
