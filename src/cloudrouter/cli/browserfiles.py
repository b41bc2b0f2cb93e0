"""Files of `browser` verbs: what a step needs is sent first, what it has made comes here whole or not at all."""

from __future__ import annotations

import os
import sys
import time

from cloudrouter.cli import browsersteps, output, placing
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.wire import routes
from cloudrouter.wire.browsing import FOLDER
from cloudrouter.wire.errors import Internal, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport
    from cloudrouter.wire.browsing import Step

STREAM = "-"
REPLACED = {
    "screenshot": (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"),
    "pdf": (b"%PDF-",),
}
"""Verbs that are done again and again -> how files begin that they replace without --force: their own kind."""
PRIVATE = (".json", ".har")
"""Endings of files that hold cookies and what was sent with them: for their owner alone."""
JPEG = (".jpg", ".jpeg")


class Wish:
    """Where the file goes that a step makes."""

    __slots__ = ("force", "in_machine", "local", "step")

    def __init__(self, step: Step, local: str | None, *, force: bool, in_machine: bool) -> None:
        self.step = step
        self.local = local
        """A path here, `-` for stdout, None for base64 on stdout."""
        self.force = force
        self.in_machine = in_machine

    def check(self) -> None:
        """Refuse what could not be written, before anything is done; Conflict or UsageError."""
        if self.in_machine or self.local is None or self.local == STREAM:
            return
        placing.check_free(self.local, force=self.may_replace())

    def may_replace(self) -> bool:
        """Whether what is at the path may go: with --force, or when it is an older one of the same kind."""
        return self.force or (self.local is not None and _is_own_kind(self.local, self.step.name))


def take_gift(step: Step, words: list[str], *, force: bool, in_machine: bool) -> Wish:
    """Take the word of the file that a step makes out of its words; a path in the machine stays there."""
    at = next(i for i, word in enumerate(step.words) if browsersteps.bare(word) == step.gives)
    local = words[at] if at < len(words) else None
    if local is not None and not in_machine:
        del words[at]
    if local == "":
        raise UsageError(f"`browser {step.name}` is given an empty file name.", fix="Give a file's name.")
    return Wish(step, None if in_machine else local, force=force, in_machine=in_machine)


def name_it(wish: Wish, transport: Transport, machine: str) -> None:
    """Give the file a name where the caller gave none, and one is needed."""
    if wish.local is not None or wish.in_machine or wish.step.name == "screenshot":
        return
    facts = transport.call("GET", routes.machine(machine))
    wish.local = placing.default_name(facts, wish.step.suffix, time.time())


def picture_options(wish: Wish, options: dict[str, Any]) -> None:
    """A file that is called .jpg gets a JPEG."""
    if wish.step.name == "screenshot" and wish.local is not None and wish.local.lower().endswith(JPEG):
        options.setdefault("format", "jpeg")


def check_output(wish: Wish, *, json: bool) -> None:
    """Refuse bytes on a stdout that is taken or is a terminal."""
    if wish.local != STREAM:
        return
    if json:
        raise UsageError("--json and a file cannot both go to stdout.", fix="Give a file's name.")
    if output.is_terminal(sys.stdout):
        raise UsageError("Such a file is not for a terminal.", fix="Give a file's name, or send stdout to one.")


def run(step: Step, body: dict[str, Any], args: Namespace) -> int:
    """Do a step that needs or makes a file, and say where it is."""
    wish = take_gift(step, body["words"], force=args.force, in_machine=args.in_machine) if step.gives else None
    if wish is not None:
        check_output(wish, json=args.json)
        wish.check()
        picture_options(wish, body["options"])
    transport = connect_own_version()
    if wish is not None:
        name_it(wish, transport, args.machine)
        wish.check()
    if args.in_machine:
        body["words"] = machine_paths(step, body["words"], transport, args.machine)
    elif step.takes:
        body["words"] = send(step, body["words"], transport, args.machine)
    if wish is not None and not wish.in_machine:
        body["bring"] = True
    answer = browsersteps.ask(transport, args.machine, body)
    saved = None if wish is None else bring(wish, answer, transport, args.machine)
    if saved is not None:
        answer = {**answer, "saved": saved}
    _show(answer, saved, json=args.json)
    browsersteps.tell(answer, args.machine, body["session"])
    return 0


def _show(answer: dict[str, Any], saved: dict[str, Any] | None, *, json: bool) -> None:
    if json:
        output.say_json(answer)
    elif saved is None:
        from cloudrouter.cli import browsershow

        browsershow.done(answer)
    elif "base64" in saved:
        output.say(saved["base64"])
    elif saved.get("path") != STREAM:
        output.say(output.escape(saved.get("path") or saved["in_machine"]))
        if "bytes" in saved:
            size = int(saved["bytes"])
            output.note(f"{size // 1024 + 1} KiB" if size >= 1024 else f"{size} bytes")


# -- from the machine -----------------------------------------------------------------------------------------------


def bring(wish: Wish, answer: dict[str, Any], transport: Transport, machine: str) -> dict[str, Any]:
    """Fetch what a step has made; `{"path", "bytes"}` of it here, or `{"base64", "bytes"}`, or `{"in_machine"}`."""
    made = answer.get("file")
    source = made.get("path") if isinstance(made, dict) else None
    if not isinstance(made, dict) or not isinstance(source, str) or not source.startswith("/"):
        raise Internal(f"`{wish.step.name}` was done, and the machine did not tell where its file is.")
    if wish.in_machine:
        return {"in_machine": source}
    from cloudrouter.client import madefiles

    came = madefiles.content_of(made.pop("content", None), made.get("size"))
    if wish.local is None or wish.local == STREAM:
        data = _read(transport, machine, source) if came is None else came
        if wish.local is None:
            import base64

            return {"base64": base64.b64encode(data).decode(), "bytes": len(data)}
        output.flush()
        sys.stdout.buffer.write(data)
        return {"path": STREAM, "bytes": len(data)}
    private = _is_private(wish.step)
    size = fetch(transport, machine, source, wish.local, force=wish.may_replace(), private=private, came=came)
    return {"path": wish.local, "bytes": size}


def fetch(
    transport: Transport,
    machine: str,
    source: str,
    local: str,
    *,
    force: bool,
    private: bool,
    came: bytes | None = None,
) -> int:
    """Bring one file from the machine to this path, whole or not at all; how large it is. came: its content."""
    beside = f"{local}.{os.urandom(4).hex()}.part"
    try:
        if came is None:
            from cloudrouter.client import transfer

            size = int(transfer.download(transport, machine, source, beside, kind="file")["bytes"])
        else:
            from cloudrouter.client import madefiles

            madefiles.write(came, beside)
            size = len(came)
        # The machine has no say in who may read it here.
        os.chmod(beside, 0o600 if private else 0o666 & ~_umask())
        placing.put(beside, local, force=force)
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)
    return size


def _read(transport: Transport, machine: str, source: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cloudrouter-") as folder:
        path = f"{folder}/file"
        fetch(transport, machine, source, path, force=True, private=True)
        with open(path, "rb") as file:
            return file.read()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _is_private(step: Step) -> bool:
    return step.suffix in PRIVATE


def _is_own_kind(path: str, verb: str) -> bool:
    """Whether a regular file is there that this verb could have written; an empty one counts."""
    kinds = REPLACED.get(verb)
    if kinds is None or os.path.islink(path) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            begins = file.read(8)
    except OSError:
        return False
    return not begins or begins.startswith(kinds)


# -- to the machine -------------------------------------------------------------------------------------------------


def send(step: Step, words: list[str], transport: Transport, machine: str) -> list[str]:
    """The words with the caller's files sent, and their paths in the machine in their places."""
    at = next(i for i, word in enumerate(step.words) if browsersteps.bare(word) == step.takes)
    for path in words[at:]:
        check_local(path)
    from cloudrouter.client import transfer

    sent = []
    for path in words[at:]:
        remote = f"{FOLDER}/in/{os.urandom(8).hex()}/{os.path.basename(path)}"
        transfer.upload(transport, machine, path, remote)
        sent.append(remote)
    return [*words[:at], *sent]


def check_local(path: str) -> None:
    """Refuse what is no file here, or has a name that no text can hold."""
    shown = output.escape(path.encode("utf-8", "backslashreplace").decode())
    if not path.isprintable():
        raise UsageError(f"The name {shown} cannot be sent as a word.", fix="Give the file another name.")
    if os.path.isdir(path):
        raise UsageError(f"{shown} is a folder.", fix="Give files, one by one.")
    if not os.path.isfile(path):
        raise NotFound(f"There is no file {shown} here.", fix="Check the path; --in-machine is for files there.")


def machine_paths(step: Step, words: list[str], transport: Transport, machine: str) -> list[str]:
    """The words with paths of the machine made absolute; they are relative to its workspace."""
    wanted = step.gives or step.takes
    at = next(i for i, word in enumerate(step.words) if browsersteps.bare(word) == wanted)
    if all(word.startswith("/") for word in words[at:]):
        return words
    if any(not word or word.startswith("~") for word in words[at:]):
        raise UsageError("A path in the machine is absolute, or relative to its workspace.", fix="Write it out.")
    workspace = str(transport.call("GET", routes.machine(machine)).get("workspace") or "/")
    return [*words[:at], *(word if word.startswith("/") else f"{workspace}/{word}" for word in words[at:])]
