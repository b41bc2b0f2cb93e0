"""Machine ids, machine names, ids of jobs and terminals: their grammar and how an argument finds a machine."""

from __future__ import annotations

import os

# No vowels and no look-alikes (0/o, 1/l/i): ids are read aloud, typed again and never spell words.
ALPHABET = "23456789bcdfghjkmnpqrstvwxyz"
ID_LENGTH = 8
PREFIX = "cr_"
NAME_LIMIT = 31

_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME_REST = _NAME_FIRST | frozenset("0123456789-")


def _random_word(length: int) -> str:
    word = ""
    while len(word) < length:
        # Bytes past the largest multiple of the alphabet are thrown away, so every letter is equally likely.
        for byte in os.urandom(length * 2):
            if byte < 252 and len(word) < length:
                word += ALPHABET[byte % len(ALPHABET)]
    return word


def new_machine_id() -> str:
    """A fresh machine id such as `cr_7k2m9xqd`: 28^8 possible values (38 bits)."""
    return PREFIX + _random_word(ID_LENGTH)


def new_job_id() -> str:
    """A fresh id of a background command, such as `job_4tq8w2`."""
    return "job_" + _random_word(6)


def new_pty_id() -> str:
    """A fresh id of a terminal session, such as `pty_7k2m9xqd`."""
    return "pty_" + _random_word(ID_LENGTH)


def is_machine_id(text: str) -> bool:
    """Whether the text is a whole machine id in the form `cr_...`."""
    word = text[len(PREFIX) :]
    return text.startswith(PREFIX) and len(word) == ID_LENGTH and all(c in ALPHABET for c in word)


def is_job_id(text: str) -> bool:
    """Whether the text is a job id; anything that passes is safe as a file name."""
    word = text[4:]
    return text.startswith("job_") and len(word) == 6 and all(c in ALPHABET for c in word)


def is_pty_id(text: str) -> bool:
    """Whether the text is the id of a terminal session; anything that passes is safe as a file name."""
    word = text[4:]
    return text.startswith("pty_") and len(word) == ID_LENGTH and all(c in ALPHABET for c in word)


def dns_label(machine_id: str) -> str:
    """The id as host names and provider objects carry it: `cr-7k2m9xqd` (underscores are refused there)."""
    return machine_id.replace("_", "-", 1)


def from_dns_label(label: str) -> str:
    """The machine id behind `cr-7k2m9xqd`; other text comes back unchanged."""
    return label.replace("-", "_", 1) if label.startswith("cr-") else label


def name_fault(name: str) -> str | None:
    """Why the text cannot be a machine's name, or None when it can."""
    if not name:
        return "it is empty"
    if len(name) > NAME_LIMIT:
        return f"it is longer than {NAME_LIMIT} characters"
    if name[0] not in _NAME_FIRST:
        return "it does not start with a letter a-z"
    if any(c not in _NAME_REST for c in name):
        return "it holds something else than a-z, 0-9 and -"
    if name.startswith("cr-"):
        return "names that start with cr- are kept for ids"
    return None


def name_from_folder(folder: str) -> str:
    """A legal machine name made from a folder's name; empty when nothing of it can be used."""
    word = "".join(c if c in _NAME_REST else "-" for c in folder.lower())
    word = word.lstrip("-0123456789")[:NAME_LIMIT].rstrip("-")
    while "--" in word:
        word = word.replace("--", "-")
    return "" if word.startswith("cr-") else word
