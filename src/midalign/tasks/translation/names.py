"""What languages are called in English: those with two letters, and those of FLORES-200 and NTREX with three."""

from midalign.languages import language_of

# As `languages.language_of` names them.
NAMES = dict(
    entry.strip().split(" ", 1)
    for entry in """
    aa Afar, ab Abkhazian, ae Avestan, af Afrikaans, ak Akan, am Amharic, an Aragonese, ar Arabic, as Assamese, av Avar,
    ay Aymara, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian, bi Bislama, bm Bambara, bn Bengali, bo Tibetan,
    br Breton, bs Bosnian, ca Catalan, ce Chechen, ch Chamorro, co Corsican, cr Cree, cs Czech, cu Church Slavic,
    cv Chuvash, cy Welsh, da Danish, de German, dv Dhivehi, dz Dzongkha, ee Ewe, el Greek, en English, eo Esperanto,
    es Spanish, et Estonian, eu Basque, fa Persian, ff Fula, fi Finnish, fj Fijian, fo Faroese, fr French,
    fy Western Frisian, ga Irish, gd Scottish Gaelic, gl Galician, gn Guarani, gu Gujarati, gv Manx, ha Hausa,
    he Hebrew, hi Hindi, ho Hiri Motu, hr Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, hz Herero,
    ia Interlingua, id Indonesian, ie Interlingue, ig Igbo, ii Sichuan Yi, ik Inupiaq, io Ido, is Icelandic, it Italian,
    iu Inuktitut, ja Japanese, jv Javanese, ka Georgian, kg Kongo, ki Kikuyu, kj Kuanyama, kk Kazakh, kl Greenlandic,
    km Khmer, kn Kannada, ko Korean, kr Kanuri, ks Kashmiri, ku Kurdish, kv Komi, kw Cornish, ky Kyrgyz, la Latin,
    lb Luxembourgish, lg Ganda, li Limburgish, ln Lingala, lo Lao, lt Lithuanian, lu Luba-Katanga, lv Latvian,
    mg Malagasy, mh Marshallese, mi Maori, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese,
    my Burmese, na Nauru, nb Norwegian, nd North Ndebele, ne Nepali, ng Ndonga, nl Dutch, nn Norwegian Nynorsk,
    nr South Ndebele, nv Navajo, ny Chichewa, oc Occitan, oj Ojibwe, om Oromo, or Odia, os Ossetian, pa Punjabi,
    pi Pali, pl Polish, ps Pashto, pt Portuguese, qu Quechua, rm Romansh, rn Rundi, ro Romanian, ru Russian,
    rw Kinyarwanda, sa Sanskrit, sc Sardinian, sd Sindhi, se Northern Sami, sg Sango, si Sinhala, sk Slovak,
    sl Slovenian, sm Samoan, sn Shona, so Somali, sq Albanian, sr Serbian, ss Swati, st Southern Sotho, su Sundanese,
    sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, th Thai, ti Tigrinya, tk Turkmen, tl Tagalog, tn Tswana,
    to Tongan, tr Turkish, ts Tsonga, tt Tatar, tw Twi, ty Tahitian, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek,
    ve Venda, vi Vietnamese, vo Volapük, wa Walloon, wo Wolof, xh Xhosa, yi Yiddish, yo Yoruba, za Zhuang, zh Chinese,
    zu Zulu,
    ace Acehnese, acm Mesopotamian Arabic, acq Ta'izzi-Adeni Arabic, aeb Tunisian Arabic, ajp South Levantine Arabic,
    apc Levantine Arabic, ars Najdi Arabic, ary Moroccan Arabic, arz Egyptian Arabic, ast Asturian,
    awa Awadhi, ayr Central Aymara, azb South Azerbaijani, ban Balinese, bem Bemba, bho Bhojpuri, bjn Banjar,
    bug Buginese, ceb Cebuano, cjk Chokwe, ckb Central Kurdish, crh Crimean Tatar, dik Southwestern Dinka, dyu Dyula,
    fon Fon, fur Friulian, fuv Nigerian Fulfulde, hmn Hmong, hne Chhattisgarhi, ilo Ilocano, kab Kabyle, kac Jingpho,
    kam Kamba, kbp Kabiyè, kea Kabuverdianu, kmb Kimbundu, ksw S'gaw Karen, lij Ligurian,
    lmo Lombard, ltg Latgalian, lua Luba-Kasai, luo Luo, lus Mizo, mag Magahi, mai Maithili, mey Hassaniya Arabic,
    min Minangkabau, mni Meitei, mos Mossi, nso Northern Sotho, nus Nuer, pag Pangasinan, pap Papiamento, prs Dari,
    quy Ayacucho Quechua, sat Santali, scn Sicilian, shi Tachelhit, shn Shan, szl Silesian, taq Tamasheq, tmh Tuareg,
    tpi Tok Pisin, tum Tumbuka, tzm Central Atlas Tamazight, umb Umbundu, vec Venetian, vmw Makhuwa, war Waray,
    wuu Wu Chinese, yue Cantonese
    """.replace("\n", " ").split(",")
)
SCRIPTS = {
    "Arab": "Arabic",
    "Beng": "Bengali",
    "Cyrl": "Cyrillic",
    "Deva": "Devanagari",
    "Grek": "Greek",
    "Guru": "Gurmukhi",
    "Hans": "Simplified",
    "Hant": "Traditional",
    "Hebr": "Hebrew",
    "Latn": "Latin",
    "Mong": "Mongolian",
    "Olck": "Ol Chiki",
    "Tfng": "Tifinagh",
    "Tibt": "Tibetan",
}


def name_of(tag):
    """What a language is called in a prompt: "German" of `de` or `de-AT`, "Serbian (Latin)" of `sr-Latn`; a language
    without a name here is its tag.   tag: one that `languages.language_of` knows.
    """
    language = language_of(tag)
    primary, _, script = language.partition("-")
    if primary not in NAMES:
        return language
    return f"{NAMES[primary]} ({SCRIPTS.get(script, script)})" if script else NAMES[primary]
