"""A table of bad inputs: each ends in its own sentence and exit code 2, none in a traceback, none trains."""

import gzip
import json

import pytest

import run_midalign

ROW = {"id": "7", "locale": "de-DE", "partition": "train", "utt": "licht aus", "annot_utt": "[device_type : licht] aus"}
PAIR = {"id": "a", "source": "guten tag", "target": "good day", "source_lang": "de", "target_lang": "en"}
RECIPE = {
    "task_data": "{folder}",
    "task_languages": ["de-DE"],
    "align_data": ["{folder}/pairs"],
    "align_eval_pairs": 2,
    "align_batch_size": 2,
    "max_steps": 1,
    "activation_checkpointing": False,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "max_length": 700,
}


def good_rows(count=4):
    return [
        ROW | {"id": str(i), "utt": f"licht {i} aus", "annot_utt": f"[device_type : licht] {i} aus"}
        for i in range(count)
    ]


def good_pairs(count=8):
    return [PAIR | {"id": str(i), "source": f"satz {i}", "target": f"sentence {i}"} for i in range(count)]


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_model, tokenizer):
    folder = tmp_path_factory.mktemp("model")
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def refusal(tmp_path, model, capsys):
    """refusal(rows=, pairs=, recipe=, argv=) -> the one sentence that the program ends with. Rows and pairs are
    objects, or lines as text or bytes."""

    def run(rows=None, pairs=None, recipe=None, text=None, argv=()):
        write(tmp_path / "de-DE" / "train.jsonl", good_rows() if rows is None else rows)
        write(tmp_path / "pairs" / "p.jsonl", good_pairs() if pairs is None else pairs)
        values = {"model_name_or_path": str(model), "output_dir": str(tmp_path / "out"), **RECIPE, **(recipe or {})}
        values = {key: value for key, value in values.items() if value is not ...}
        path = tmp_path / "recipe.yaml"
        path.write_text((text or json.dumps(values)).replace("{folder}", str(tmp_path)))
        code = run_midalign.main([str(path), *argv])
        err = capsys.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert code == 2 and len(lines) == 1 and "Traceback" not in err
        assert lines[0].isprintable() and err.endswith(f"{lines[0]}\n")
        assert not list((tmp_path / "out").glob("*.safetensors"))
        return lines[0].replace(str(tmp_path), "")

    return run


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    as_bytes = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    path.write_bytes(b"\n".join(as_bytes))


# Values that no field may have, with what the sentence says of them.
NO_TEXT = [
    (..., "found nothing"),
    (None, "found nothing"),
    (3, "found a int"),
    (1.5, "found a float"),
    (True, "found a bool"),
    (["x"], "found a list"),
    ({"x": 1}, "found a dict"),
    ("", "found blanks"),
    (" \t\n", "found blanks"),
    ("a\0b", "has a NUL character"),
    ("a\ud800b", "has half a surrogate pair"),
    ("\udc00", "has half a surrogate pair"),
]


def changed(row, field, value):
    return {key: value if key == field else row[key] for key in row if key != field or value is not ...}


@pytest.mark.parametrize("field", list(ROW))
@pytest.mark.parametrize(("value", "found"), NO_TEXT, ids=[repr(value) for value, _ in NO_TEXT])
def test_a_field_of_a_task_row_without_usable_text(field, value, found, refusal):
    error = refusal(rows=[*good_rows(), changed(ROW, field, value)])
    assert "/de-DE/train.jsonl line 5 has " in error and f'"{field}"' in error and found in error


@pytest.mark.parametrize("field", ["source", "target", "source_lang", "target_lang"])
@pytest.mark.parametrize(("value", "found"), NO_TEXT, ids=[repr(value) for value, _ in NO_TEXT])
def test_a_field_of_a_pair_without_usable_text(field, value, found, refusal):
    error = refusal(pairs=[changed(PAIR, field, value), *good_pairs()])
    assert "/pairs/p.jsonl line 1 has " in error and f'"{field}"' in error and found in error


LINES = [
    (b"{", "is not JSON"),
    (b"{'id': 1}", "is not JSON"),
    (b'{"id": "1",}', "is not JSON"),
    (b'{"id": "1"', "is not JSON"),
    (b"id,locale", "is not JSON"),
    (b"[" * 100_000, "is not JSON (RecursionError)"),
    (b'{"id": ' + b"1" * 5000 + b"}", "is not JSON"),
    (b"[1, 2]", "is no object"),
    (b'"text"', "is no object"),
    (b"17", "is no object"),
    (b"null", "is no object"),
    (b"true", "is no object"),
    (b"\xff\xfe{\x00", "has byte 0 that is not UTF-8"),
    (b'{"id": "\xe4"}', "has byte 8 that is not UTF-8"),
    (b'{"id": "\xed\xa0\x80"}', "has byte 8 that is not UTF-8"),
]


@pytest.mark.parametrize(("line", "message"), LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("stream", ["rows", "pairs"])
def test_a_line_that_is_no_record(stream, line, message, refusal):
    good = good_rows() if stream == "rows" else good_pairs()
    assert f".jsonl line 2 {message}" in refusal(**{stream: [good[0], line, *good[1:]]})


TASK_ROWS = [
    ({"annot_utt": "[time : nine"}, "has a broken bracket"),
    ({"annot_utt": "time : nine]"}, "has a broken bracket"),
    ({"annot_utt": "[time nine]"}, "has a broken bracket"),
    ({"annot_utt": "[time : ]"}, "has a broken bracket"),
    ({"annot_utt": "[ : nine]"}, "has a broken bracket"),
    ({"annot_utt": "[]"}, "has a broken bracket"),
    ({"annot_utt": "[time : [date : nine]]"}, "has a broken bracket"),
    ({"annot_utt": "at ] nine ["}, "has a broken bracket"),
    ({"annot_utt": "[tiem : nine]"}, "has slot tiem, which MASSIVE does not know"),
    ({"annot_utt": "[Time : nine]"}, "has slot Time, which"),
    ({"annot_utt": "[time : nine] [zeit : neun]"}, "has slot zeit, which"),
    ({"locale": "sw-KE"}, "has locale sw-KE, but de-DE was asked for"),
    ({"locale": "de"}, "has locale de, but de-DE"),
    ({"partition": "valid"}, "has partition valid; use train, dev, test"),
    ({"partition": "Train"}, "has partition Train"),
    ({"id": "0"}, "has id 0, which an earlier row has too"),
    ({"utt": "x" * 800, "annot_utt": "x" * 800}, "tokens, but max_length is 700"),
    ({"utt": "\u200b\u200d"}, 'has no text in "utt", found blanks'),
    ({"utt": "\u00ad\ufeff\u2800"}, 'has no text in "utt", found blanks'),
    ({"annot_utt": "[device_type : \u200b] licht aus"}, "has slot device_type with nothing to read in it"),
    ({"utt": "licht an"}, "but the utterance is 'licht an'; without its brackets the annotation must be"),
    ({"annot_utt": "[device_type : licht]"}, "has annotation '[device_type : licht]', but the utterance is"),
    ({"annot_utt": "aus [device_type : licht]"}, "without its brackets the annotation must be the utterance"),
    ({"locale": "sw\nerror: x"}, "has locale 'sw\\nerror: x', but de-DE"),
    ({"partition": "\x1b[2Jtrain"}, "has partition '\\x1b[2Jtrain'; use"),
    ({"partition": "x" * 1_000_000}, f"has partition '{'x' * 57}...'; use"),
    ({"annot_utt": f"[{'x' * 10_000} : a]"}, f"has slot '{'x' * 57}...', which"),
    ({"annot_utt": "[" * 10_000}, "has a broken bracket in '[[["),
]


@pytest.mark.parametrize(("change", "message"), TASK_ROWS, ids=[str(change)[:40] for change, _ in TASK_ROWS])
def test_a_task_row_that_cannot_be_learned(change, message, refusal):
    error = refusal(rows=[*good_rows(), ROW | change])
    assert "/de-DE/train.jsonl line 5 " in error and message in error


PAIRS = [
    ({"target": "guten tag"}, "has the same text on both sides, 'guten tag'"),
    ({"target": " guten tag "}, "has the same text on both sides"),
    ({"source_lang": "en"}, "is a pair of en and en; exactly one side must be en"),
    ({"target_lang": "tr"}, "is a pair of de and tr; exactly one side must be en"),
    ({"source_lang": "xx"}, "has source_lang xx; use an ISO 639 code"),
    ({"source_lang": "german"}, "has source_lang german"),
    ({"source_lang": "DE"}, "has source_lang DE"),
    ({"target_lang": "english"}, "has target_lang english"),
    ({"source": "satz 3", "target": "sentence 3"}, "has the texts of an earlier pair, 'satz 3'; keep one of them"),
    ({"source": "SATZ\u00a03", "target": "sentence  3\u200b"}, "has the texts of an earlier pair"),
    ({"source": "sentence 3", "target": "satz 3", "source_lang": "en", "target_lang": "de"}, "an earlier pair"),
    ({"source": "satz 3", "target": "sentence 3", "source_lang": "de-AT"}, "has the texts of an earlier pair"),
    ({"source_lang": "en-GB"}, "is a pair of en-GB and en; exactly one side must be en"),
    ({"source_lang": "und"}, "has source_lang und; use"),
    ({"source_lang": "de_DE"}, "has source_lang de_DE; use"),
    ({"source_lang": "de-x\nlicense: evil"}, "has source_lang 'de-x\\nlicense: evil'; use"),
    ({"target": "Guten\u200b  TAG"}, "has the same text on both sides"),
    ({"target": "\u200b"}, 'has no text in "target", found blanks'),
    ({"source": "wort " * 200}, "tokens, but max_length is 700"),
    ({"target": "word " * 200}, "tokens, but max_length is 700"),
]


@pytest.mark.parametrize(("change", "message"), PAIRS, ids=[str(change)[:40] for change, _ in PAIRS])
def test_a_pair_that_cannot_be_aligned(change, message, refusal):
    error = refusal(pairs=[*good_pairs(), PAIR | change])
    assert "/pairs/p.jsonl line 9 " in error and message in error


def test_a_training_row_with_the_text_of_a_test_row(refusal, tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", [ROW | {"partition": "test", "utt": "licht 2 aus"}])
    assert "train.jsonl line 3 has the text of a test row, 'licht 2 aus'" in refusal()


def test_a_bad_line_in_the_file_does_not_hide_the_test_rows_in_it(refusal, tmp_path):
    own = [b"{", *good_rows(), good_rows()[2] | {"id": "t", "partition": "test"}]
    write(tmp_path / "own" / "de-DE.jsonl", own)
    error = refusal(recipe={"task_data": str(tmp_path / "own")})
    assert "line 1 is not JSON" in error and "(1 more" in error


@pytest.mark.parametrize(
    "utt", ["Licht 2 AUS", "licht\u00a02  aus", "li\u200bcht 2 aus", "licht 2 aus\n", "licht2 aus"]
)
def test_a_training_row_with_another_spelling_of_a_test_row(utt, refusal, tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", [ROW | {"partition": "test", "utt": utt}])
    assert "train.jsonl line 3 has the text of a test row, 'licht 2 aus'" in refusal()


def test_a_composed_letter_is_the_letter_and_its_mark(refusal, tmp_path):
    row = ROW | {"utt": "caf\u00e9 an", "annot_utt": "caf\u00e9 an"}
    write(tmp_path / "de-DE" / "test.jsonl", [ROW | {"partition": "test", "utt": "cafe\u0301 an"}])
    assert "has the text of a test row" in refusal(rows=[*good_rows(), row])


CUT = gzip.compress(json.dumps(ROW | {"partition": "test"}).encode() * 99)[:-20]
UNREADABLE = [
    ("test.jsonl.gz", CUT, "test.jsonl.gz is damaged (EOFError)"),
    ("test.jsonl.gz", b"no gzip", "Not a gzipped file"),
    ("test.parquet", b"PAR1", "test.parquet is damaged"),
    ("test.jsonl", b"", "test.jsonl has no row with text in id, locale, partition, utt, annot_utt, to keep test"),
    ("test.jsonl", b"\n\n", "has no row with text in id"),
    ("test.jsonl", b"{", "test.jsonl line 1 is not JSON"),
    ("test.jsonl", b'{"utt": "licht 9 aus"}\n{"ut', "test.jsonl line 2 is not JSON"),
    ("test.jsonl", b'{"text": "licht 9 aus"}', 'test.jsonl line 1 has no text in "id"'),
    ("test.jsonl", None, "test.jsonl: No such file or directory"),
]


@pytest.mark.parametrize(("name", "content", "message"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_test_rows_that_are_there_must_be_readable(name, content, message, refusal, tmp_path):
    path = tmp_path / "de-DE" / name
    path.parent.mkdir()
    path.symlink_to("gone") if content is None else path.write_bytes(content)
    assert message in refusal()


def test_a_test_row_that_cannot_be_scored_is_not_trained_on_either(refusal, tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", [{"utt": "licht 2 aus", "annot_utt": "[broken"}])
    assert "train.jsonl line 3 has the text of a test row, 'licht 2 aus'" in refusal()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [{key: pair[key] for key in pair if key != "source"} for pair in good_pairs()],
            'line 1 has no text in "source"',
        ),
        (["guten tag\tgood day"] * 4, "line 1 is not JSON"),
        (["source,target", "guten tag,good day"], "line 1 is not JSON"),
        (["guten tag", "gute nacht"], "line 1 is not JSON"),
        ([], "align_data /pairs has no pair that can be used"),
        ([PAIR] * 300, "line 2 has the texts of an earlier pair, 'guten tag'; keep one of them (298 more"),
        ([pair | {"source_lang": "xx"} for pair in good_pairs()], "line 1 has source_lang xx"),
    ],
)
@pytest.mark.parametrize("recipe", [{}, {"align_languages": ["de"]}], ids=["all languages", "de"])
def test_the_sentence_about_the_rows_comes_before_that_about_the_languages(lines, message, recipe, refusal):
    assert message in refusal(pairs=lines, recipe=recipe)


def test_languages_without_pairs_are_told_with_what_was_left_out(refusal):
    error = refusal(pairs=["guten tag\tgood day"] * 4, recipe={"align_languages": ["de"], "on_bad_row": "skip"})
    assert "has no pair that can be used; rows left out: 4, the first because /pairs/p.jsonl line 1 is not" in error


def test_training_rows_that_are_all_left_out_are_told(refusal):
    error = refusal(rows=[ROW | {"locale": "sw-KE"}], recipe={"on_bad_row": "skip"})
    assert "has no row with partition train" in error and "line 1 has locale sw-KE" in error


def test_a_pair_with_the_text_of_a_test_row(refusal, tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", [ROW | {"partition": "test", "utt": "satz 3"}])
    assert "p.jsonl line 4 has the text of a test row, 'satz 3'" in refusal()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl.gz", b"no gzip", "Not a gzipped file"),
        ("train.jsonl.gz", gzip.compress(b"x" * 10_000)[:-20], "is damaged"),
        ("train.jsonl.gz", gzip.compress(b"{"), "line 1 is not JSON"),
        ("train.parquet", b"PAR1 nothing PAR1", "is damaged"),
        ("train.parquet", b"", "is damaged"),
        ("train.jsonl", b"", "has no row with partition train"),
        ("train.jsonl", b"\n\n", "has no row with partition train"),
    ],
    ids=range(7),
)
def test_a_file_that_cannot_be_read(name, content, message, refusal, tmp_path):
    folder = tmp_path / "own" / "de-DE"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    error = refusal(recipe={"task_data": str(tmp_path / "own")})
    assert name in error and message in error


RECIPES = [
    ({"model_name_or_path": ...}, "model_name_or_path is missing"),
    ({"output_dir": ...}, "output_dir is missing"),
    ({"task_data": ...}, "task_data is missing"),
    ({"align_data": ...}, "needs pairs; set align_data"),
    ({"align_lyer": 2}, "unknown key align_lyer; did you mean align_layer?"),
    ({"packing": True}, "packing cannot be set"),
    ({"trust_remote_code": True}, "trust_remote_code cannot be set"),
    ({"align_layer": 0}, "align_layer=0"),
    ({"align_layer": 4}, "align_layer=4"),
    ({"align_layer": "middle"}, "align_layer: found 'middle'"),
    ({"align_layer": None}, "align_layer has no value"),
    ({"align_schedule": "both"}, "align_schedule: found 'both'"),
    ({"align_temperature": 0}, "align_temperature"),
    ({"align_temperature": "5e-1x"}, "align_temperature: found '5e-1x'"),
    ({"align_weight": -1}, "align_weight"),
    ({"align_batch_size": 1}, "align_batch_size"),
    ({"align_batch_size": 1000}, "do not fill a batch"),
    ({"align_chunk_size": 0}, "align_chunk_size"),
    ({"task_tokens_per_batch": 5}, "task_tokens_per_batch is 5, but a row has"),
    ({"align_eval_pairs": 1}, "align_eval_pairs"),
    ({"align_eval_pairs": 100}, "align_eval_pairs=100 leaves none"),
    ({"align_languages": ["sw"]}, "no pairs of language sw"),
    ({"align_languages": ["german"]}, "align_languages: found german; name other languages than align_pivot, en"),
    ({"align_languages": ["de", "en-GB"]}, "align_languages: found en-GB; name other languages than align_pivot, en"),
    (
        {"align_pivot": "de", "align_languages": ["en", "de-AT"]},
        "found de-AT; name other languages than align_pivot, de",
    ),
    ({"align_pivot": "de", "align_eval_languages": ["deu"]}, "align_eval_languages: found deu; name other languages"),
    ({"align_pivot": "German"}, "align_pivot: found German; name a language by a code such as en or zh-Hant"),
    ({"align_pivot": "und"}, "align_pivot: found und; name a language"),
    ({"align_pivot": ""}, "align_pivot is empty"),
    ({"align_pivot": ["de"]}, "align_pivot: found a list"),
    ({"align_pivot": "sw"}, "p.jsonl line 1 is a pair of de and en; exactly one side must be sw"),
    (
        {"align_pivot": "sw", "align_data": ["demo"]},
        "align_data demo has pairs of en, de, es, tr, ru, el, but align_pivot",
    ),
    ({"align_pivot": "de", "align_data": ..., "align_schedule": "sft"}, "align_pivot is set without align_data"),
    (
        {"align_diagnostics_steps": 9, "align_data": ..., "align_schedule": "sft"},
        "align_diagnostics_steps is set without align_data",
    ),
    (
        {"align_revision": "main", "align_data": ..., "align_schedule": "sft"},
        "align_revision is set without align_data",
    ),
    (
        {"align_data": ["no/pairs:de-en"]},
        "no/pairs:de-en is neither a file, a folder nor the beginning of two Moses files",
    ),
    ({"align_eval_languages": ["de\n"]}, "align_eval_languages: found 'de\\n'; name"),
    ({"metric_for_best_model": "retrieval_at_1_sw", "align_languages": ["de-DE"]}, "only de are measured"),
    ({"align_data": ["/no/such/file.jsonl"]}, "No such file"),
    ({"align_pooling": "max"}, "align_pooling: found 'max'"),
    ({"align_loss": "mse", "align_temperature": 0.2}, "align_temperature belongs to align_loss infonce"),
    ({"align_every": 2, "align_schedule": "alternate"}, "align_every works with align_schedule joint"),
    ({"align_learning_rate": 0.1}, "align_learning_rate needs steps of its own"),
    ({"task_languages": ["xx-XX"]}, "locale xx-XX is not in MASSIVE"),
    ({"task_languages": ["sw-KE"]}, "has neither sw-KE/train.jsonl nor sw-KE.jsonl"),
    ({"task_data": "/no/such/folder"}, "is no folder here and could not be read from the hub"),
    ({"score_languages": ["de-DE"]}, "has neither de-DE/test.jsonl nor"),
    ({"on_bad_row": "ignore"}, "on_bad_row: found 'ignore'"),
    ({"max_length": 5}, "tokens, but max_length is 5"),
    ({"lora_r": 8}, "lora_r is set, but use_peft is not"),
    ({"learning_rate": "fast"}, "learning_rate: found 'fast'"),
    ({"use_cpu": "maybe"}, "use_cpu: found 'maybe'; give it true or false"),
    ({"per_device_train_batch_size": 0}, "per_device_train_batch_size"),
    ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
    ({"model_name_or_path": "/no/such/model"}, "cannot be loaded"),
    ({"attn_implementation": "magic"}, "cannot be loaded"),
    ({"resume_from_checkpoint": "true"}, "holds no checkpoint to resume from"),
    ({"early_stopping_patience": 2}, "early_stopping_patience needs a best model"),
]


@pytest.mark.parametrize(("change", "message"), RECIPES, ids=[str(change)[:50] for change, _ in RECIPES])
def test_a_recipe_that_cannot_run(change, message, refusal):
    assert message in refusal(recipe=change)


HOSTILE = "a\n\x1b[31mb"
NAMES = [
    ({"task_data": f"/no/such/{HOSTILE}"}, "is no folder here"),
    ({"task_data": f"{{folder}}/{HOSTILE}"}, "has neither"),
    ({"align_data": [f"/no/such/{HOSTILE}"]}, "No such file"),
    ({"align_data": [f"{{folder}}/{HOSTILE}"]}, "has no file ending in"),
    ({"align_data": [f"{{folder}}/{HOSTILE}/empty.jsonl"]}, "has no pair that can be used"),
    ({"model_name_or_path": f"./{HOSTILE}"}, "model_name_or_path"),
    ({"model_name_or_path": f"{{folder}}/{HOSTILE}"}, "model_name_or_path"),
    ({"attn_implementation": HOSTILE}, "cannot be loaded"),
    ({"report_to": HOSTILE}, "is not supported"),
    ({"resume_from_checkpoint": f"/no/{HOSTILE}"}, "resume_from_checkpoint"),
    ({"output_dir": f"{{folder}}/{HOSTILE}/empty.jsonl"}, "output_dir"),
]


@pytest.mark.parametrize(("change", "message"), NAMES, ids=range(len(NAMES)))
def test_a_name_with_a_line_break_and_an_escape_stays_in_its_line(change, message, refusal, tmp_path):
    write(tmp_path / HOSTILE / "empty.jsonl", [])
    change = json.loads(json.dumps(change).replace("{folder}", str(tmp_path)))
    if change.get("align_data") == [str(tmp_path / HOSTILE)]:
        (tmp_path / HOSTILE / "empty.jsonl").unlink()
    error = refusal(recipe=change)
    assert message in error and r"\x1b[31mb" in error


@pytest.mark.parametrize("metric", ["retrieval_at_1_sw", "eval_retrieval_at_1_xx", "retrieval_at_1_"])
def test_a_metric_that_no_evaluation_would_have_is_found_when_the_pairs_are_read(metric, refusal, tmp_path):
    write(tmp_path / "de-DE" / "validation.jsonl", [ROW | {"partition": "dev"}])
    best = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    assert f"{metric}: held-out pairs are of de; name one of them" in refusal(
        recipe=best | {"metric_for_best_model": metric}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no `key: value` lines"),
        ("- a\n- b", "holds no `key: value` lines"),
        ("a: [1", "is not valid YAML"),
        ("max_steps: 1\nmax_steps: 2", "max_steps appears twice"),
        ("a: !!python/object/apply:os.system [echo]", "found the tag"),
        ("\t- x", "is not valid YAML"),
    ],
)
def test_a_recipe_that_is_no_recipe(text, message, refusal):
    assert message in refusal(text=text or "\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seed"], "seed"),
        (["--no_such_key", "1"], "unknown key no_such_key"),
        (["stray"], "found 'stray' without a key"),
        (["--seed", "one"], "seed: found 'one'; give it a whole number"),
    ],
)
def test_a_command_line_that_cannot_be_read(argv, message, refusal):
    assert message in refusal(argv=argv)


def test_rows_that_cannot_be_used_are_left_out_and_listed_when_the_recipe_says_so(tmp_path, model, capsys):
    write(tmp_path / "de-DE" / "train.jsonl", [*good_rows(), b"{", ROW | {"utt": " "}, ROW | {"annot_utt": "[x : y]"}])
    write(tmp_path / "pairs" / "p.jsonl", [*good_pairs(), PAIR | {"target": "guten tag"}])
    values = {"model_name_or_path": str(model), "output_dir": str(tmp_path / "out"), **RECIPE, "on_bad_row": "skip"}
    (tmp_path / "r.yaml").write_text(json.dumps(values).replace("{folder}", str(tmp_path)))
    assert run_midalign.main([str(tmp_path / "r.yaml")]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["data"]["task_rows"] == 4 and record["data"]["pairs"] == {"de": 6} and record["left_out"] == 4
    left_out = (tmp_path / "out" / "left_out.txt").read_text().splitlines()
    assert ["line 5", "line 6", "line 7", "line 9"] == [line.split(".jsonl ")[1][:6] for line in left_out]
