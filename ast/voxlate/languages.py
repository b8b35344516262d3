"""The registry of languages: codes, aliases, English names, and mBART-50 tags.

Codes are those of the published model cards (``zh``, ``sv``); CoVoST 2's ``zh-CN`` and ``sv-SE`` are aliases. The order
of the mBART-50 tags is the order of their ids (Tang et al. 2020, "Multilingual Translation with Extensible Multilingual
Pretraining and Finetuning").
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches

from voxlate.errors import VoxlateError


@dataclass(frozen=True)
class Language:
    """A language; `mbart_tag` is None if mBART-50 has no tag for it."""

    code: str
    name: str
    mbart_tag: str | None
    aliases: tuple[str, ...] = ()

    @property
    def has_spaces(self) -> bool:
        """Return whether consecutive sentences are separated by a space."""
        return self.code not in _WITHOUT_SPACES


# The other living languages of ISO 639-1, those of XLS-R's pretraining data, Common Voice, FLEURS, NLLB. An entry is
# "code, other codes: name, other names". Min Nan has only Common Voice's code nan-tw: "nan" is an empty table cell.
_BEYOND_MBART50 = """
    aa aar: Afar; ab abk: Abkhazian, Abkhaz; ady: Adyghe; aeb: Tunisian Arabic; ak aka: Akan; am amh: Amharic; an
    arg: Aragonese; apc: Levantine Arabic; ary: Moroccan Arabic; arz: Egyptian Arabic; as asm: Assamese; ast:
    Asturian; av ava: Avaric, Avar; ay aym ayr: Aymara; ba bak: Bashkir; bas: Basaa; be bel: Belarusian; bem: Bemba;
    bg bul: Bulgarian; bho: Bhojpuri; bi bis: Bislama; bm bam: Bambara; bo bod tib: Tibetan; br bre: Breton; brx:
    Bodo; bs bos: Bosnian; ce che: Chechen; ceb: Cebuano; ch cha: Chamorro; ckb: Central Kurdish, Sorani; cnh: Hakha
    Chin; co cos: Corsican; cr cre: Cree; crh: Crimean Tatar; cv chv: Chuvash; da dan: Danish; doi: Dogri; dsb:
    Lower Sorbian; dv div: Dhivehi, Divehi, Maldivian; dyu: Dyula; dz dzo: Dzongkha; ee: Ewe; el ell gre: Greek; eo
    epo: Esperanto; eu eus baq: Basque; ff ful fuv: Fula, Fulah, Fulani; fj fij: Fijian; fo fao: Faroese; fon:
    Fongbe; fur: Friulian; fy fry: Western Frisian, Frisian; ga gle: Irish; gag: Gagauz; gd gla: Scottish Gaelic; gn
    grn: Guarani; gsw: Swiss German; gv glv: Manx; ha hau: Hausa; haw: Hawaiian; ho hmo: Hiri Motu; hsb: Upper
    Sorbian; ht hat: Haitian Creole, Haitian; hu hun: Hungarian; hy hye arm: Armenian; hz her: Herero; ia ina:
    Interlingua; ig ibo: Igbo; ii iii: Nuosu, Sichuan Yi; ik ipk: Inupiaq; is isl ice: Icelandic; iu iku: Inuktitut;
    jv jav jw: Javanese; kaa: Karakalpak; kab: Kabyle; kam: Kamba; kbd: Kabardian; kea: Kabuverdianu, Cape Verdean
    Creole; kg kon: Kongo; ki kik: Kikuyu, Gikuyu; kj kua: Kwanyama, Kuanyama; kl kal: Greenlandic, Kalaallisut;
    kmr: Northern Kurdish, Kurmanji; kn kan: Kannada; kok: Konkani; kr kau knc: Kanuri; ks kas: Kashmiri; ku kur:
    Kurdish; kv kom: Komi; kw cor: Cornish; ky kir: Kyrgyz, Kirghiz; la lat: Latin; lb ltz: Luxembourgish; lg lug:
    Ganda, Luganda; li lim: Limburgish; lij: Ligurian; ln lin: Lingala; lo: Lao; ltg: Latgalian; lu lub:
    Luba-Katanga; luo: Dholuo; mai: Maithili; mdf: Moksha; mg mlg plt: Malagasy; mh mah: Marshallese; mhr: Meadow
    Mari, Eastern Mari; mi mri mao: Māori, Maori; mni: Manipuri, Meitei; mrj: Hill Mari, Western Mari; ms msa may
    zsm zlm: Malay; mt mlt: Maltese; myv: Erzya; na nau: Nauruan; nan-tw: Taiwanese, Min Nan Chinese, Min Nan,
    Hokkien; nb nob: Norwegian Bokmål, Bokmål; nd nde: Northern Ndebele; ng ndo: Ndonga; nhi: Western Sierra Puebla
    Nahuatl; nn nno: Norwegian Nynorsk, Nynorsk; no nor: Norwegian; nr nbl: Southern Ndebele; nso ns: Northern
    Sotho, Sepedi; nv nav: Navajo; ny nya: Chichewa, Nyanja, Chewa; oc oci: Occitan; oj oji: Ojibwe; om orm gaz:
    Oromo; or ori ory: Odia, Oriya; os oss: Ossetian, Ossetic; pa pan: Punjabi, Panjabi; qu que: Quechua; quy:
    Ayacucho Quechua, Quechua Chanka; rm roh: Romansh; rm-sursilv: Romansh Sursilvan; rm-vallader: Romansh Vallader;
    rn run: Rundi, Kirundi; rw kin: Kinyarwanda; sa san: Sanskrit; sah: Yakut, Sakha; sat: Santali; sc srd:
    Sardinian; scn: Sicilian; sco: Scots; sd snd: Sindhi; se sme: Northern Sami; sg sag: Sango; sk slk slo: Slovak;
    skr: Saraiki; sm smo: Samoan; sn sna: Shona; so som: Somali; sq sqi alb als: Albanian; sr srp: Serbian; ss ssw:
    Swati, Swazi; st sot: Southern Sotho, Sesotho; su sun: Sundanese; szl: Silesian; tg tgk: Tajik; ti tir:
    Tigrinya; tig: Tigre; tk tuk: Turkmen; tmh taq: Tamasheq; tn tsn: Tswana, Setswana; to ton: Tongan; tok: Toki
    Pona; tpi: Tok Pisin; ts tso: Tsonga; tt tat: Tatar; tw: Twi; ty tah: Tahitian; udm: Udmurt; ug uig: Uyghur,
    Uighur; umb: Umbundu; uz uzb uzn: Uzbek; ve ven: Venda; vec: Venetian; vot: Votic; wa wln: Walloon; war: Waray;
    wo wol: Wolof; wuu: Wu Chinese, Wu; yi yid ydd: Yiddish; yo yor: Yoruba; yue: Cantonese; za zha: Zhuang; zgh:
    Standard Moroccan Tamazight, Tamazight; zu zul: Zulu; zza: Zaza; ace: Acehnese; acm: Mesopotamian Arabic; acq:
    Ta'izzi-Adeni Arabic; ajp: South Levantine Arabic; ars: Najdi Arabic; awa: Awadhi; azb: South Azerbaijani; ban:
    Balinese; bjn: Banjar; bug: Buginese; cjk: Chokwe; dik: Dinka; hne: Chhattisgarhi; ilo: Ilocano; kac: Jingpho,
    Kachin; kbp: Kabiyè; kmb: Kimbundu; lmo: Lombard; lua: Luba-Kasai; lus: Mizo; mag: Magahi; min: Minangkabau;
    mos: Mossi; nus: Nuer; pag: Pangasinan; pap: Papiamento; prs: Dari; shn: Shan; tum: Tumbuka; tzm: Central Atlas
    Tamazight
"""


# Tibetan, Dzongkha, Nuosu, Japanese, Khmer, Lao, Burmese, Thai, and the Chinese languages.
_WITHOUT_SPACES = {"bo", "dz", "ii", "ja", "km", "lo", "my", "nan-tw", "th", "wuu", "yue", "zh"}


def _parse(entry: str) -> Language:
    """Return the language of an entry of the table above."""
    codes, names = entry.split(":")
    code, *other_codes = codes.split()
    name, *other_names = (" ".join(name.split()) for name in names.split(","))
    return Language(code, name, None, (*other_codes, *other_names))


# In the order of mBART-50's ids, then the two CoVoST 2 languages that it lacks, then the rest.
LANGUAGES: tuple[Language, ...] = (
    Language("ar", "Arabic", "ar_AR", ("ara", "arb")),
    Language("cs", "Czech", "cs_CZ", ("ces", "cze")),
    Language("de", "German", "de_DE", ("deu", "ger", "Deutsch")),
    Language("en", "English", "en_XX", ("eng",)),
    Language("es", "Spanish", "es_XX", ("spa", "Español", "Castilian")),
    Language("et", "Estonian", "et_EE", ("est", "ekk")),
    Language("fi", "Finnish", "fi_FI", ("fin", "Suomi")),
    Language("fr", "French", "fr_XX", ("fra", "fre", "Français")),
    Language("gu", "Gujarati", "gu_IN", ("guj",)),
    Language("hi", "Hindi", "hi_IN", ("hin",)),
    Language("it", "Italian", "it_IT", ("ita", "Italiano")),
    Language("ja", "Japanese", "ja_XX", ("jpn", "jp")),
    Language("kk", "Kazakh", "kk_KZ", ("kaz",)),
    Language("ko", "Korean", "ko_KR", ("kor",)),
    Language("lt", "Lithuanian", "lt_LT", ("lit",)),
    Language("lv", "Latvian", "lv_LV", ("lav", "lvs")),
    Language("my", "Burmese", "my_MM", ("mya", "bur", "Myanmar")),
    Language("ne", "Nepali", "ne_NP", ("nep", "npi")),
    Language("nl", "Dutch", "nl_XX", ("nld", "dut", "Nederlands", "Flemish")),
    Language("ro", "Romanian", "ro_RO", ("ron", "rum")),
    Language("ru", "Russian", "ru_RU", ("rus",)),
    Language("si", "Sinhala", "si_LK", ("sin", "Sinhalese")),
    Language("tr", "Turkish", "tr_TR", ("tur", "Türkçe")),
    Language("vi", "Vietnamese", "vi_VN", ("vie",)),
    Language("zh", "Chinese", "zh_CN", ("zho", "chi", "cmn", "zh-Hans", "zh-SG", "Mandarin", "Mandarin Chinese")),
    Language("af", "Afrikaans", "af_ZA", ("afr",)),
    Language("az", "Azerbaijani", "az_AZ", ("aze", "azj")),
    Language("bn", "Bengali", "bn_IN", ("ben", "Bangla")),
    Language("fa", "Persian", "fa_IR", ("fas", "per", "pes", "Farsi")),
    Language("he", "Hebrew", "he_IL", ("heb", "iw")),
    Language("hr", "Croatian", "hr_HR", ("hrv",)),
    Language("id", "Indonesian", "id_ID", ("ind",)),
    Language("ka", "Georgian", "ka_GE", ("kat", "geo")),
    Language("km", "Khmer", "km_KH", ("khm",)),
    Language("mk", "Macedonian", "mk_MK", ("mkd", "mac")),
    Language("ml", "Malayalam", "ml_IN", ("mal",)),
    Language("mn", "Mongolian", "mn_MN", ("mon", "khk")),
    Language("mr", "Marathi", "mr_IN", ("mar",)),
    Language("pl", "Polish", "pl_PL", ("pol",)),
    Language("ps", "Pashto", "ps_AF", ("pus", "pbt")),
    Language("pt", "Portuguese", "pt_XX", ("por", "Português")),
    Language("sv", "Swedish", "sv_SE", ("swe", "Svenska")),
    Language("sw", "Swahili", "sw_KE", ("swa", "swh")),
    Language("ta", "Tamil", "ta_IN", ("tam",)),
    Language("te", "Telugu", "te_IN", ("tel",)),
    Language("th", "Thai", "th_TH", ("tha",)),
    Language("tl", "Tagalog", "tl_XX", ("tgl", "fil", "Filipino")),
    Language("uk", "Ukrainian", "uk_UA", ("ukr",)),
    Language("ur", "Urdu", "ur_PK", ("urd",)),
    Language("xh", "Xhosa", "xh_ZA", ("xho",)),
    Language("gl", "Galician", "gl_ES", ("glg",)),
    Language("sl", "Slovenian", "sl_SI", ("slv", "Slovene")),
    Language("ca", "Catalan", None, ("cat", "Català", "Valencian")),
    Language("cy", "Welsh", None, ("cym", "wel", "Cymraeg")),
    *map(_parse, _BEYOND_MBART50.split(";")),
)

MBART50_TAGS: tuple[str, ...] = tuple(language.mbart_tag for language in LANGUAGES if language.mbart_tag is not None)

# CoVoST 2 (Wang et al. 2020): 21 languages into English, and English into 15.
COVOST2_SOURCES = (
    *("fr", "de", "es", "ca", "it", "ru", "zh", "pt", "fa", "et", "mn"),
    *("nl", "tr", "ar", "sv", "lv", "sl", "ta", "ja", "id", "cy"),
)
COVOST2_TARGETS = ("de", "tr", "fa", "sv", "mn", "zh", "cy", "ca", "sl", "et", "id", "ar", "ta", "lv", "ja")

# Regional or script variants that differ too much to be treated as the language of their first part.
_DISTINCT_VARIANTS = {"zh-tw", "zh-hk", "zh-mo", "zh-hant", "sr-latn"}
_REGIONAL = re.compile(r"[a-z]{2,3}(-[a-z]{4})?(-([a-z]{2}|\d{3}))?")  # language, script, region; not en-fr-de


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "-")


_BY_ALIAS: dict[str, Language] = {
    _key(alias): language
    for language in LANGUAGES
    for alias in (language.code, language.name, language.mbart_tag or language.code, *language.aliases)
}


def look_up_language(name: str) -> Language | None:
    """Return what `find_language` returns, or None if it raises; a thousand times faster in that case."""
    key = _key(name)
    if key in _BY_ALIAS:
        return _BY_ALIAS[key]
    if key not in _DISTINCT_VARIANTS and _REGIONAL.fullmatch(key):
        return _BY_ALIAS.get(key.split("-")[0])
    return None


def find_language(name: str) -> Language:
    """Return the language of a code, alias, English name or mBART tag.

    Regional variants such as `pt-BR` and `es_419` are treated as the language of their first part. VoxlateError with
    suggestions if the language is unknown.
    """
    if not isinstance(name, str):
        raise VoxlateError(f"a language is {name!r}, expected a code such as de, or a name")
    language = look_up_language(name)
    if language is not None:
        return language
    key = _key(name)
    parts = [part for part in re.split(r"[\s,;/+|&]+", key) if part]
    codes = list(dict.fromkeys(_BY_ALIAS[part].code for part in parts if part in _BY_ALIAS))
    if len(codes) > 1 or (codes and len(parts) > 1 and not re.fullmatch(r"[\w\s()-]+", key)):
        raise VoxlateError(
            f"{name[:80]!r} names several languages ({', '.join(codes)}), expected one; where several are allowed, "
            "separate them with commas"
        )
    close = get_close_matches(key, _BY_ALIAS, n=3, cutoff=0.7)
    if close:  # many of 240 names are somewhat similar: keep those that are nearly as close as the closest
        closest = SequenceMatcher(None, close[0], key).ratio()
        close = get_close_matches(key, close, n=3, cutoff=closest - 0.1)
    suggestions = list(dict.fromkeys(f"{_BY_ALIAS[match].code} ({_BY_ALIAS[match].name})" for match in close))
    hint = (
        f"did you mean {' or '.join(suggestions)}?"
        if suggestions
        else "give a code such as de, an ISO 639-3 code, or an English name"
    )
    raise VoxlateError(f"unknown language {name!r}; {hint}")
