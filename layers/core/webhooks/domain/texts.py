"""Which characters a line of an owner's own words may have, in any script.

The rule names what is refused. A list of what is allowed would be that of one version of Unicode,
and leave out joiners, which Persian and Hindi are spelled with, the wide space of Japanese, and
the scripts to come.
"""

from __future__ import annotations

import re
import unicodedata

_REFUSED = (
    "["
    # Controls, ends of lines and paragraphs: they would make a line two, or steer a terminal.
    "\x00-\x1f\x7f-\x9f\u2028\u2029"
    # Embeddings and overrides of direction: they reorder what is shown behind the text (Unicode
    # Technical Report 36, section 2.5). The marks of direction stay: U+200E, U+200F, U+061C have
    # an effect on their neighbours alone, and Hebrew and Arabic are written with them.
    "\u202a-\u202e"
    # Deprecated format characters, a byte order mark, annotations: no part of any spelling.
    "\u206a-\u206f\ufeff\ufff9-\ufffb"
    # Half a surrogate pair, which has no UTF-8; private use and noncharacters, which have no
    # meaning between two systems.
    "\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff"
    + "".join(chr(plane << 16 | last) for plane in range(1, 15) for last in (0xFFFE, 0xFFFF))
    # Tags, which hide a text in a text, but for a flag's; the variation selectors among them stay,
    # for names in Han.
    + "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    "]"
)

_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
"""The flag of a part of a country, as of Scotland: a black flag and the region's code in tags, of
three to six letters and digits (Unicode Technical Standard 51, annex C)."""

_ISOLATES = "\u2066-\u2069"
_END_OF_ISOLATE = "\u2069"

_PARTS = re.compile(f"(?P<flag>{_FLAG})|(?P<isolate>[{_ISOLATES}])|(?P<refused>{_REFUSED})")

_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def is_line(text: str) -> bool:
    """Tell whether a text is a line in some script: no controls, no overrides of direction."""
    return not _refused(text)


def is_blank(text: str) -> bool:
    """Tell whether a text has nothing to see: spaces, joiners and other format characters alone."""
    return all(unicodedata.category(character) in _INVISIBLE for character in text)


def escaped(text: str) -> str:
    """Return a text as a line: each character that is refused in one is written as an escape."""
    refused = _refused(text)
    if not refused:
        return text
    return "".join(
        character.encode("unicode_escape").decode() if at in refused else character
        for at, character in enumerate(text)
    )


def _refused(text: str) -> set[int]:
    """Return where a text has what no line may have.

    An isolate that ends within the text reorders nothing outside of it, and that is its use: a
    Latin name in a Hebrew line is written so, and some libraries for messages put every name in
    one. One that does not end has an effect on what is shown behind the text (Unicode Standard
    Annex 9, definition BD9).
    """
    refused: set[int] = set()
    open_isolates: list[int] = []
    for found in _PARTS.finditer(text):
        if found.lastgroup == "refused":
            refused.add(found.start())
        elif found.lastgroup == "isolate" and found[0] != _END_OF_ISOLATE:
            open_isolates.append(found.start())
        elif found.lastgroup == "isolate" and open_isolates:
            open_isolates.pop()
        elif found.lastgroup == "isolate":
            refused.add(found.start())
    return refused.union(open_isolates)
