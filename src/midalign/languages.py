"""One notion of language, for pairs, recipes, locales, tables and records.

A language is the primary subtag of a BCP 47 tag, and its script where the language is written in more than one and
this is not the usual one: de, de-DE and deu are "de", zh, zh-CN and zh-Hans are "zh", zh-TW and zh-Hant are "zh-Hant".
A region alone makes no other language: pt-BR is "pt".
"""

import functools
import re

TAG = re.compile(
    "([a-z]{2,3})(?:-([A-Za-z]{4}))?(?:-([A-Za-z]{2}|[0-9]{3}))?(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"
)
# ISO 639: three letters (terminological code), then the two that are used instead.
_ISO = """
    aar aa abk ab ave ae afr af aka ak amh am arg an ara ar asm as ava av aym ay aze az bak ba bel be bul bg bis bi
    bam bm ben bn bod bo bre br bos bs cat ca che ce cha ch cos co cre cr ces cs chu cu chv cv cym cy dan da deu de
    div dv dzo dz ewe ee ell el eng en epo eo spa es est et eus eu fas fa ful ff fin fi fij fj fao fo fra fr fry fy
    gle ga gla gd glg gl grn gn guj gu glv gv hau ha heb he hin hi hmo ho hrv hr hat ht hun hu hye hy her hz ina ia
    ind id ile ie ibo ig iii ii ipk ik ido io isl is ita it iku iu jpn ja jav jv kat ka kon kg kik ki kua kj kaz kk
    kal kl khm km kan kn kor ko kau kr kas ks kur ku kom kv cor kw kir ky lat la ltz lb lug lg lim li lin ln lao lo
    lit lt lub lu lav lv mlg mg mah mh mri mi mkd mk mal ml mon mn mar mr msa ms mlt mt mya my nau na nob nb nde nd
    nep ne ndo ng nld nl nno nn nor no nbl nr nav nv nya ny oci oc oji oj orm om ori or oss os pan pa pli pi pol pl
    pus ps por pt que qu roh rm run rn ron ro rus ru kin rw san sa srd sc snd sd sme se sag sg sin si slk sk slv sl
    smo sm sna sn som so sqi sq srp sr ssw ss sot st sun su swe sv swa sw tam ta tel te tgk tg tha th tir ti tuk tk
    tgl tl tsn tn ton to tur tr tso ts tat tt twi tw tah ty uig ug ukr uk urd ur uzb uz ven ve vie vi vol vo wln wa
    wol wo xho xh yid yi yor yo zha za zho zh zul zu
""".split()
# Codes of one language of a group that stand for the group's own code (CLDR), as corpora such as FLORES-200 write them.
_ALSO = """
    arb ar azj az cmn zh ekk et fil tl gaz om khk mn lvs lv no nb npi ne nor nb ory or pbt ps pes fa plt mg swh sw
    uzn uz ydd yi zsm ms als sq kmr ku
""".split()
# The bibliographic codes of ISO 639-2, where they are others than the terminological ones.
_LIBRARY = """
    alb sq arm hy baq eu bur my chi zh cze cs dut nl fre fr geo ka ger de gre el ice is mac mk mao mi may ms per fa
    rum ro slo sk tib bo wel cy
""".split()
TWO_LETTERS = frozenset(_ISO[1::2])
_EACH = (*_ISO, *_ALSO, *_LIBRARY)
SAME = dict(zip(_EACH[::2], _EACH[1::2], strict=True))
NO_LANGUAGE = frozenset({"mis", "mul", "und", "zxx"})
# The usual script of each language that is not written in Latin letters.
USUAL_SCRIPT = {
    language: script
    for script, languages in {
        "Arab": "ar fa ks ps sd ug ur",
        "Armn": "hy",
        "Beng": "as bn",
        "Cans": "cr iu oj",
        "Cyrl": "ab av ba be bg ce cu cv kk kv ky mk mn os ru sr tg tt uk",
        "Deva": "hi mr ne pi sa",
        "Ethi": "am ti",
        "Geor": "ka",
        "Grek": "el",
        "Gujr": "gu",
        "Guru": "pa",
        "Hans": "zh",
        "Hebr": "he yi",
        "Jpan": "ja",
        "Khmr": "km",
        "Knda": "kn",
        "Kore": "ko",
        "Laoo": "lo",
        "Mlym": "ml",
        "Mymr": "my",
        "Orya": "or",
        "Sinh": "si",
        "Taml": "ta",
        "Telu": "te",
        "Thaa": "dv",
        "Thai": "th",
        "Tibt": "bo dz",
        "Yiii": "ii",
    }.items()
    for language in languages.split()
}
# Regions that write a language in another script than the usual one.
SCRIPT_OF_REGION = {
    **dict.fromkeys((("zh", "TW"), ("zh", "HK"), ("zh", "MO")), "Hant"),
    **dict.fromkeys((("az", "IR"), ("pa", "PK"), ("uz", "AF")), "Arab"),
    ("mn", "CN"): "Mong",
    ("sr", "ME"): "Latn",
}


@functools.lru_cache(maxsize=1024)  # files of millions of pairs have a few tags
def language_of(tag):
    """The language that a tag such as `de`, `pt-BR` or `zh-Hant-TW` names, as above; None where it names none."""
    parts = TAG.fullmatch(tag)
    if not parts or parts[1] in NO_LANGUAGE:
        return None
    primary, region = SAME.get(parts[1], parts[1]), (parts[3] or "").upper()
    if len(primary) == 2 and primary not in TWO_LETTERS:
        return None
    usual = USUAL_SCRIPT.get(primary, "Latn")
    script = parts[2].title() if parts[2] else SCRIPT_OF_REGION.get((primary, region), usual)
    return primary if script == usual else f"{primary}-{script}"


def primary_of(tag):
    """The primary subtag of a tag: "zh" of `zh-TW`."""
    return tag.partition("-")[0]
