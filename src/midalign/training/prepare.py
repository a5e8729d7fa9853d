"""What every use of a recipe begins with: tokenizer, layer, rows and pairs, checked. No weights are read."""

from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedTokenizerBase
from transformers.utils.import_utils import is_triton_available

from midalign.data.capability import Capability
from midalign.data.checks import Sieve
from midalign.data.columns import most
from midalign.data.streams import load_pairs, load_tasks, scored_texts, texts_beside
from midalign.data.tokens import require_embedded
from midalign.layers import resolve_layer, resolve_lora_layers
from midalign.models.loading import fastest_attention, load_config, load_tokenizer, model_path
from midalign.tasks import tasks_of
from midalign.tasks.base import Task
from midalign.training.checks import check_pairs, fast_paths, longest_row, longest_sentence

LONG = 2048  # tokens of a row from which on a GPU passes over masked blocks; shorter ones lie in sequences as short


@dataclass(frozen=True)
class Prepared:
    """A recipe's two streams, tokenised, and what they were made with."""

    tasks: list[Task]  # what is learned, as `DataConfig.each` has them
    path: str  # folder or hub name of the model
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    task: Dataset  # input_ids, labels, place; of several tasks also task, a ClassLabel
    held_out_task: Dataset | None
    pairs: Dataset  # of `data.pair_rows`
    held_out_pairs: Dataset
    left_out: list  # a sentence for each row or pair that cannot be used
    attention: tuple  # (attn_implementation, why it was chosen)
    packed: dict  # see `checks.fast_paths`


def prepare(data, training, model, on_bad_row, held_out=False, day=None):
    """The streams of what `read_recipe` gives; align_layer and lora_layers become numbers.

    on_bad_row: error or skip, or None to go on without a word: the caller shows what is left out.
    held_out: whether held-out task rows are needed.   day: the date in prompts that have one, ISO; today when None.
    Of several processes the first makes what the others read.
    Raises InputError.
    """
    path = model_path(model.model_name_or_path, Path(training.output_dir).parent)
    config = load_config(path, model.model_revision)
    depth = config.get_text_config().num_hidden_layers
    training.align_layer = resolve_layer(training.align_layer, depth)
    model.lora_layers = resolve_lora_layers(model.lora_layers, training.align_layer, depth)
    tokenizer = load_tokenizer(path, model.model_revision, data.task_system, day)
    tasks, sieve, processes = tasks_of(data), Sieve(on_bad_row or "skip"), training.dataset_num_proc
    with training.main_process_first(desc="tokenisation"):
        each = list(zip(tasks, data.each(), strict=True))
        texts = set().union(*(scored_texts(*one, sieve) for one in each))
        rows = load_tasks(tasks, data, tokenizer, training.max_length, held_out, sieve, texts, processes)
        context = (tasks[0], training.align_pooling == "last") if training.align_context == "task" else None
        pairs = load_pairs(
            *(data, tokenizer, training.max_length, sieve, texts, processes, context),
            beside=lambda languages: set().union(*(texts_beside(*one, languages, sieve) for one in each)),
        )
        if on_bad_row:
            sieve.settle()
    check_pairs(training, *pairs)
    require_embedded([[largest_id(tokenizer, rows, pairs)]], config.get_text_config().vocab_size, path)
    lengths = {"row": longest_row(*rows), "sentence": longest_sentence(*pairs)}
    attention, packed = attention_and_paths(training, model, config, lengths)
    return Prepared(tasks, path, config, tokenizer, *rows, *pairs, sieve.left_out, attention, packed)


def largest_id(tokenizer, rows, pairs):
    """The largest token id in task rows and pairs: Datasets, or None."""
    each = [most(table, "input_ids") for table in rows if table]
    return max(*each, *(most(table, "source", "target") for table in pairs), tokenizer.pad_token_id or 0)


def attention_and_paths(training, model, config, lengths):
    """(attention, packed) of `Prepared`.   model: ModelConfig.   config: the model's.

    lengths: tokens of the longest row and of the longest sentence, 0 without any.
    """
    capability = Capability.of(config, training.router_aux_loss_coef)
    masked = fast_paths(training, replace(capability, attention="sdpa"), **lengths)
    on = {key: packs for key, (packs, _) in masked.items()}
    shares = (on["share_prefix"] and lengths["row"]) or (training.align_context == "task" and on["pack_pairs"])
    half = training.bf16 or training.fp16 or model.dtype in ("bfloat16", "float16")
    device = training.device
    flash = device.type == "cuda" and half
    flex = capability.flex_obstacle(device) is None and is_triton_available() and max(lengths.values()) >= LONG
    attention = fastest_attention(model.attn_implementation, config, shares, flash, flex)
    return attention, fast_paths(training, replace(capability, attention=attention[0]), **lengths)
