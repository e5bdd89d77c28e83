"""The characters that a line of an owner's own text may have, in any script.

The rule lists refused characters. A list of allowed characters would belong to one version of
Unicode. It would leave out joiners, which Persian and Hindi are spelled with, the wide space of
Japanese, and future scripts.
"""

from __future__ import annotations

import re
import unicodedata

_REFUSED = (
    "["
    # Controls, ends of lines and paragraphs: they would split a line, or control a terminal.
    "\x00-\x1f\x7f-\x9f\u2028\u2029"
    # Embeddings and overrides of direction: they reorder the text shown after them (Unicode
    # Technical Report 36, section 2.5). The marks of direction stay allowed: U+200E, U+200F and
    # U+061C affect only their neighbours, and Hebrew and Arabic are written with them.
    "\u202a-\u202e"
    # Deprecated format characters, a byte order mark, annotations: no spelling uses them.
    "\u206a-\u206f\ufeff\ufff9-\ufffb"
    # Half a surrogate pair, which has no UTF-8; private use and noncharacters, which have no
    # meaning between two systems.
    "\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff"
    + "".join(chr(plane << 16 | last) for plane in range(1, 15) for last in (0xFFFE, 0xFFFF))
    # Tags, which hide a text in a text, except in a flag. The variation selectors among them stay
    # allowed, for names in Han.
    + "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    "]"
)

_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
"""The flag of a part of a country, Scotland for instance: a black flag and the region's code in
tags, of three to six letters and digits (Unicode Technical Standard 51, annex C)."""

_ISOLATES = "\u2066-\u2069"
_END_OF_ISOLATE = "\u2069"

_PARTS = re.compile(f"(?P<flag>{_FLAG})|(?P<isolate>[{_ISOLATES}])|(?P<refused>{_REFUSED})")

_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def is_line(text: str) -> bool:
    """Whether a text is one line in some script: no controls, no overrides of direction."""
    return not _refused(text)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: only spaces, joiners and other format characters."""
    return all(unicodedata.category(character) in _INVISIBLE for character in text)


def escaped(text: str) -> str:
    """Return a text as a valid line, with each refused character written as an escape."""
    refused = _refused(text)
    if not refused:
        return text
    return "".join(
        character.encode("unicode_escape").decode() if at in refused else character
        for at, character in enumerate(text)
    )


def _refused(text: str) -> set[int]:
    """Return the indexes of the characters that no line may have.

    An isolate that ends within the text reorders nothing outside of it, as intended: it keeps a
    Latin name in a Hebrew line in place, and some libraries for messages put every name in one. An
    isolate without an end affects the text shown after it (Unicode Standard Annex 9, definition
    BD9).
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
