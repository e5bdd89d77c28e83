"""Splits a message that is an array into its documents, kept as the texts that arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from webhooks.domain.shard import MAX_QUEUED_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def array_texts(text: str) -> list[str] | None:
    """Return the text of each document if a message is an array, unchanged; otherwise None."""
    # Numbers stay texts: Python refuses to read integers of over 4,300 digits.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    place = _past_space(text, 0)
    if text[place : place + 1] != "[":
        return None
    documents: list[str] = []
    place = _past_space(text, place + 1)
    while text[place] != "]":
        _, end = decoder.raw_decode(text, place)
        documents.append(text[place:end])
        place = _past_space(text, end)
        if text[place] == ",":
            place = _past_space(text, place + 1)
    return documents


def _past_space(text: str, place: int) -> int:
    while text[place : place + 1] in {" ", "\t", "\n", "\r"}:
        place += 1
    return place


def joined(documents: Iterable[str]) -> Iterator[str]:
    """Yield arrays of documents, each array within the size limit of a queue message."""
    array: list[str] = []
    size = 0
    for document in documents:
        length = len(document.encode(errors="surrogatepass")) + 1
        if array and size + length >= MAX_QUEUED_BYTES:
            yield f"[{','.join(array)}]"
            array, size = [], 0
        array.append(document)
        size += length
    if array:
        yield f"[{','.join(array)}]"
