from pathlib import Path

import pytest

NER = Path(__file__).parents[4] / "shared" / "data" / "ner"  # not part of this repository


@pytest.fixture(scope="session")
def published():
    """The folder with ten treebanks of Universal NER; absent in a plain checkout."""
    if not NER.is_dir():
        pytest.skip("needs the treebanks of Universal NER, which are not part of this repository")
    return NER


@pytest.fixture
def write_treebank(tmp_path):
    """write_treebank("en_ewt", "test", [[("Anna", "B-PER"), ...], ...]) -> the folder, one file more in it.

    Texts are the tokens with blanks between them; a sentence that is text is written as it is.
    """

    def write(treebank, part, sentences, folder=None):
        blocks = [
            own
            if isinstance(own, str)
            else "".join(
                [
                    f"# sent_id = s{number}\n# text = {' '.join(token for token, _ in own)}\n",
                    *(f"{i}\t{token}\t{tag}\t-\t-\n" for i, (token, tag) in enumerate(own, start=1)),
                ]
            )
            for number, own in enumerate(sentences)
        ]
        path = tmp_path / (folder or f"UNER_{treebank}") / f"{treebank}-ud-{part}.iob2"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(blocks), encoding="utf-8")
        return tmp_path

    return write
