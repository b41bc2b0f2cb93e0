"""Lines of ours in a file of the machine's: between two marks, so that they are found again and stand there once."""

from __future__ import annotations

BEGIN = "# cloudrouter packages: begin"
END = "# cloudrouter packages: end"


def replace_marked(text: str, wanted: str) -> str:
    """The text with what stands between our marks replaced, or with marks and all at its end; empty takes them out."""
    before, found, rest = text.partition(f"{BEGIN}\n")
    if found:
        _, _, after = rest.partition(f"{END}\n")
        text = before + after
    if not wanted:
        return text
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{BEGIN}\n{wanted.rstrip()}\n{END}\n"
