"""`cache`: what the package cache holds and saved; empty it, or check it."""

from __future__ import annotations

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

VERIFY_DEADLINE_S = 1000.0


def status(args: Namespace) -> int:
    """Print what is kept and what was counted."""
    facts = connect_own_version().call("GET", routes.PACKAGE_CACHE)
    if args.json:
        output.say_json(facts)
        return 0
    for line in output.pairs(_rows(facts)):
        output.say(line)
    return 0


def clear(args: Namespace) -> int:
    """Forget every package."""
    done = connect_own_version().call("POST", f"{routes.PACKAGE_CACHE}/clear")
    if args.json:
        output.say_json(done)
    else:
        output.say(f"{_counted(done['entries'], 'file')} forgotten, {_size(done['bytes'])} free")
    return 0


def verify(args: Namespace) -> int:
    """Read every package again; 1 when one was damaged."""
    done = connect_own_version().call("POST", f"{routes.PACKAGE_CACHE}/verify", timeout=VERIFY_DEADLINE_S)
    if args.json:
        output.say_json(done)
    elif done["damaged"]:
        damaged = _counted(done["damaged"], "file")
        output.say(f"{damaged} of {done['checked']} damaged and forgotten; the next machine downloads them again")
    else:
        output.say(f"{_counted(done['checked'], 'file')} read, all as they came")
    return 1 if done["damaged"] else 0


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    asked = facts["hits"] + facts["revalidated"] + facts["misses"]
    part = f" ({100 * (facts['hits'] + facts['revalidated']) // asked} %)" if asked else ""
    answered = facts["hits"] + facts["revalidated"]
    rows = [
        ("kept", f"{_counted(facts['entries'], 'file')}, {_size(facts['bytes'])} of {_size(facts['bound_bytes'])}"),
        ("answered", f"{answered} of {_counted(asked, 'request')} without a download{part}"),
        ("saved", f"{_size(facts['saved_bytes'])} not downloaded again, {_size(facts['fetched_bytes'])} downloaded"),
        ("carried", f"{_counted(facts['passed'], 'request')} that cannot be kept"),
        ("process", f"pid {facts['pid']}" + (f", begun again {facts['restarts']} times" if facts["restarts"] else "")),
        ("folder", output.escape(facts["folder"])),
    ]
    if facts["stale"]:
        rows.insert(4, ("out of date", f"{_counted(facts['stale'], 'answer')}, their registry out of reach"))
    if facts["refused_bodies"]:
        rows.insert(4, ("refused", f"{_counted(facts['refused_bodies'], 'download')} that came broken or altered"))
    return rows


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _size(number: int) -> str:
    from cloudrouter.wire.sizes import format_bytes

    return format_bytes(number)


VERBS = {
    "cache": Verb(
        "[VERB] [flags]",
        description="The package cache: what npm, pip, uv and cargo download in one machine, the next one has from "
        "this host. It keeps what the public registries serve to everybody, checked, and nothing that a machine sends "
        "can change it. Its bound is the router's CLOUDROUTER_PACKAGE_CACHE_SIZE, 10g by default; what was not used "
        "for longest goes first. `start --no-package-cache` does without.",
        examples=(
            ("cloudrouter cache", "what it holds and what it saved"),
            ("cloudrouter cache clear", "forget everything"),
        ),
        alone="status",
        inner={
            "status": Verb(
                "[flags]",
                description="Show what it holds and what it saved.",
                examples=(
                    ("cloudrouter cache status", "for people"),
                    ("cloudrouter cache status --json", "for programs"),
                ),
                configure=add_json_flag,
                run=status,
            ),
            "clear": Verb(
                "[flags]",
                description="Forget everything; machines download again what they need.",
                examples=(
                    ("cloudrouter cache clear", "and tell how much there was"),
                    ("cloudrouter cache clear --json", "for programs"),
                ),
                configure=add_json_flag,
                run=clear,
            ),
            "verify": Verb(
                "[flags]",
                description="Read all of it again and forget what is damaged; status 1 if anything was.",
                examples=(
                    ("cloudrouter cache verify", "after trouble with the disk"),
                    ("cloudrouter cache verify --json", "for programs"),
                ),
                configure=add_json_flag,
                run=verify,
            ),
        },
    )
}
