"""What is asked before a sentence, by language as `languages.language_of` names it; in English for any other.

Written for this package: the wording of the alignment paper is not known. `task_instruction` replaces all of them.
"""

from midalign.texts import squeeze

FORM = '{"PER": ["..."], "LOC": ["..."], "ORG": ["..."]}'
TEXTS = {
    "ceb": """
        Pangitaa ang mga ngalan sa mga tawo (PER), dapit (LOC) ug organisasyon (ORG) sa tudling-pulong. Kopyaha ang
        mga pulong sumala sa pagkasulat, sa ilang han-ay, matag higayon nga mogawas. Tubaga og JSON lamang:
    """,
    "da": """
        Find navnene på personer (PER), steder (LOC) og organisationer (ORG) i sætningen. Kopiér ordene nøjagtigt, i
        den rækkefølge de står, hver gang de står der. Svar kun med JSON:
    """,
    "de": """
        Finde die Namen von Personen (PER), Orten (LOC) und Organisationen (ORG) im Satz. Schreibe ihre Wörter genau
        ab, in der Reihenfolge, in der sie stehen, jedes Mal, wenn sie vorkommen. Antworte nur mit JSON:
    """,
    "en": """
        Find the names of persons (PER), locations (LOC) and organizations (ORG) in the sentence. Copy their words
        exactly, in the order they appear, every time they appear. Answer with JSON only:
    """,
    "hr": """
        Pronađi imena osoba (PER), mjesta (LOC) i organizacija (ORG) u rečenici. Prepiši njihove riječi točno, redom
        kojim se pojavljuju, svaki put kad se pojave. Odgovori samo u obliku JSON:
    """,
    "pt": """
        Encontre os nomes de pessoas (PER), lugares (LOC) e organizações (ORG) na frase. Copie as palavras
        exatamente, na ordem em que aparecem, cada vez que aparecem. Responda somente com JSON:
    """,
    "ru": """
        Найди имена людей (PER), названия мест (LOC) и организаций (ORG) в предложении. Перепиши их слова точно, в
        том порядке, в котором они стоят, каждый раз, когда они встречаются. Ответь только в формате JSON:
    """,
    "sk": """
        Nájdi mená osôb (PER), miest (LOC) a organizácií (ORG) vo vete. Prepíš ich slová presne, v poradí, v akom sa
        vyskytujú, zakaždým, keď sa vyskytnú. Odpovedz iba vo formáte JSON:
    """,
    "sr": """
        Пронађи имена особа (PER), места (LOC) и организација (ORG) у реченици. Препиши њихове речи тачно, редом
        којим се појављују, сваки пут кад се појаве. Одговори само у облику JSON:
    """,
    "sr-Latn": """
        Pronađi imena osoba (PER), mesta (LOC) i organizacija (ORG) u rečenici. Prepiši njihove reči tačno, redom
        kojim se pojavljuju, svaki put kad se pojave. Odgovori samo u obliku JSON:
    """,
    "sv": """
        Hitta namnen på personer (PER), platser (LOC) och organisationer (ORG) i meningen. Kopiera orden exakt, i
        den ordning de står, varje gång de står där. Svara bara med JSON:
    """,
    "tl": """
        Hanapin ang mga pangalan ng tao (PER), lugar (LOC) at organisasyon (ORG) sa pangungusap. Kopyahin ang mga
        salita nang eksakto, ayon sa pagkakasunod-sunod, sa bawat paglitaw. Sumagot lamang ng JSON:
    """,
    "zh": "找出句子中的人名 (PER)、地名 (LOC) 和机构名 (ORG)。按出现的顺序照抄原文，每次出现都要写出。只用 JSON 回答：",
    "zh-Hant": "找出句子中的人名 (PER)、地名 (LOC) 和機構名 (ORG)。"
    "按出現的順序照抄原文，每次出現都要寫出。只用 JSON 回答：",
}
PROMPTS = {language: f"{squeeze(text)} {FORM}" for language, text in TEXTS.items()}


def prompt_of(language):
    """The text that is asked in a language."""
    return PROMPTS.get(language, PROMPTS["en"])
