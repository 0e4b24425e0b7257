"""One canonical code for what ISO 639-1, 639-2, 639-3 and labels such as `eng_Latn` call a language."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple


class Tongue(NamedTuple):
    """A language, and a script where the label names one: ("en", ""), ("sr", "Cyrl")."""

    code: str  # ISO 639-1 where there is one, else ISO 639-3
    script: str = ""  # ISO 15924, or ""

    def covers(self, other: Tongue) -> bool:
        """Whether a page in `other` is in this language; a script counts where both sides name one."""
        return self.code == other.code and (not self.script or not other.script or self.script == other.script)

    def __str__(self) -> str:
        return f"{self.code}_{self.script}" if self.script else self.code


@functools.lru_cache(4096)
def tongue(text: str) -> Tongue:
    """The language that `en`, `eng`, `EN`, `eng_Latn` or `zh-Hans` names; ValueError for what is no code."""
    match = re.fullmatch(r"([A-Za-z]{2,3})(?:[_-]([A-Za-z]{4}))?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no language code; write it like en, eng or eng_Latn")
    code = match[1].lower()
    return Tongue(_TO_CANONICAL.get(code, code), (match[2] or "").capitalize())


# ISO 639-2 and 639-3 codes of the languages that have a two-letter code, and the members of macro-languages
# by which GlotLID and FineWeb2 name them (arb for ar, cmn for zh, …); source: the ISO 639-3 code tables.
_THREE_TO_TWO = """
aar:aa abk:ab afr:af aka:ak alb:sq als:sq amh:am ara:ar arb:ar arg:an arm:hy asm:as ava:av ave:ae aym:ay
ayr:ay aze:az azj:az bak:ba bam:bm baq:eu bel:be ben:bn bih:bh bis:bi bod:bo bos:bs bre:br bul:bg bur:my
cat:ca ces:cs cha:ch che:ce chi:zh chu:cu chv:cv cmn:zh cor:kw cos:co cre:cr cym:cy cze:cs dan:da deu:de
div:dv dut:nl dzo:dz ekk:et ell:el eng:en epo:eo est:et eus:eu ewe:ee fao:fo fas:fa fij:fj fin:fi fra:fr
fre:fr fry:fy ful:ff gaz:om geo:ka ger:de gla:gd gle:ga glg:gl glv:gv gre:el grn:gn gug:gn guj:gu hat:ht
hau:ha hbs:sh heb:he her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig ice:is ido:io iii:ii iku:iu ile:ie
ina:ia ind:id ipk:ik isl:is ita:it jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka kau:kr kaz:kk khk:mn khm:km
kik:ki kin:rw kir:ky kmr:ku knc:kr kom:kv kon:kg kor:ko kpv:kv kua:kj kur:ku lao:lo lat:la lav:lv lim:li
lin:ln lit:lt ltz:lb lub:lu lug:lg lvs:lv mac:mk mah:mh mal:ml mao:mi mar:mr may:ms mkd:mk mlg:mg mlt:mt
mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr nde:nd ndo:ng nep:ne nld:nl nno:nn nob:no nor:no npi:ne
nya:ny oci:oc oji:oj ori:or orm:om ory:or oss:os pan:pa pbt:ps per:fa pes:fa pli:pi plt:mg pol:pl por:pt
pus:ps que:qu quy:qu roh:rm ron:ro rum:ro run:rn rus:ru sag:sg san:sa sin:si slk:sk slo:sk slv:sl sme:se
smo:sm sna:sn snd:sd som:so sot:st spa:es sqi:sq src:sc srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv swh:sw
tah:ty tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tib:bo tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw
uig:ug ukr:uk urd:ur uzb:uz uzn:uz ven:ve vie:vi vol:vo wel:cy wln:wa wol:wo xho:xh ydd:yi yid:yi yor:yo
zha:za zho:zh zsm:ms zul:zu
"""
_TO_CANONICAL = {"nb": "no", **dict(pair.split(":") for pair in _THREE_TO_TWO.split())}

# The labels of fastText's lid.176, with its `als` (Wikipedia's code for Alemannic, which ISO 639-3 calls gsw
# and gives to Tosk Albanian) put right.
_LID176 = """
af am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de
diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gsw gu gv he hi hif hr hsb ht hu hy ia
id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk
ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro
ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi
vls vo wa war wuu xal xmf yi yo yue zh
"""
LID176 = frozenset(_LID176.split())
