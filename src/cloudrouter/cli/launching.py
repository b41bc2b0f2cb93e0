"""What `start` and `run` share: the flags that describe a machine, the request made of them, and the launch."""

from __future__ import annotations

import os
import signal

from cloudrouter.cli import output, values
from cloudrouter.cli.progress import StartProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from typing import Any


def add_machine_flags(parser: ArgumentParser) -> None:
    """The flags that describe the wanted machine."""
    from cloudrouter.wire.sizes import SIZES

    parser.add_argument("-n", "--name", metavar="NAME", help="a name for it (default: made from the folder's name)")
    parser.add_argument("--size", metavar="SIZE", choices=tuple(SIZES), help=", ".join(SIZES))
    parser.add_argument("--cpu", metavar="N", type=values.cpus, help="cpus, also parts of one: 0.5")
    parser.add_argument("--memory", metavar="M", type=values.amount, help="memory: 512m, 8g; a bare number is MiB")
    parser.add_argument(
        "--disk", metavar="D", type=values.amount, help="a disk limit; refused where it cannot be enforced"
    )
    parser.add_argument("--image", metavar="IMAGE", help="what it boots from (default: core)")
    parser.add_argument("-p", "--provider", metavar="P", help="who makes it (default: docker)")
    parser.add_argument(
        "--env",
        metavar="K[=V]",
        action="append",
        default=[],
        help="set a variable for all commands in it; K alone takes your own value and keeps it out of the process list",
    )
    parser.add_argument("--label", metavar="K=V", action="append", default=[], help="remember a label with it")


def add_folder_flags(parser: ArgumentParser) -> None:
    """The flags about which files are sent."""
    parser.add_argument("--with-secrets", action="store_true", help="send live secrets too: .env files, keys, tokens")
    parser.add_argument(
        "-e", "--exclude", metavar="PATTERN", action="append", default=[], help="leave out more, as in .gitignore"
    )


def build_request(args: Namespace, folder: str | None, *, timeout: float | None) -> dict[str, Any]:
    """The body of `POST /v1/machines`: flags first, then the person's settings for this folder."""
    defaults = _defaults(folder, os.environ)
    request: dict[str, Any] = {
        "name": args.name,
        "size": args.size or defaults.get("size"),
        "cpu": args.cpu,
        "memory_bytes": args.memory,
        "disk_bytes": args.disk,
        "image": args.image or defaults.get("image"),
        "provider": args.provider or defaults.get("provider"),
        "env": values.read_env(args.env, os.environ),
        "labels": values.read_labels(args.label),
        "timeout_seconds": timeout,
    }
    if timeout is None and "timeout" in defaults:
        from cloudrouter.wire.durations import parse_duration

        request["timeout_seconds"] = parse_duration(defaults["timeout"])
    return {key: value for key, value in request.items() if value not in (None, {})}


def _defaults(folder: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    from cloudrouter.cli import config

    place = folder if folder is not None and os.path.isdir(folder) else os.getcwd()
    return {key: setting.value for key, setting in config.read_settings(place, environ).items()}


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: handled like Ctrl-C, so that nothing half-made stays."""

    exit_code = 128 + signal.SIGTERM


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does; SIGHUP stays ignored under nohup."""

    def handle(_number: int, _frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)


def launch_machine(
    args: Namespace, folder: str | None, request: dict[str, Any], progress: StartProgress
) -> dict[str, Any]:
    """Make the machine and put the files into it; says what stayed behind."""
    from cloudrouter.cli.connection import connect_own_version
    from cloudrouter.client.launch import launch

    try:
        progress.line.show("reaching the router")
        machine = launch(
            connect_own_version(),
            folder,
            request,
            with_secrets=args.with_secrets,
            exclude=args.exclude,
            progress=progress,
        )
    except KeyboardInterrupt:
        progress.line.clear()
        tell_interrupted(progress)
        raise
    finally:
        progress.line.clear()
    tell_upload(machine.get("upload"))
    return machine


def tell_interrupted(progress: StartProgress) -> None:
    """After Ctrl-C: what is left. A machine that is there all the same has its id printed."""
    if progress.fate in ("", "removed"):
        output.note("cloudrouter: interrupted; no machine is left.")
        return
    if progress.fate == "unknown":
        output.note("cloudrouter: interrupted; if a machine was begun, the router removes it by itself.")
        return
    output.say(progress.machine_id)
    output.note(f"cloudrouter: interrupted; {progress.machine_id} may still be there.")
    output.note(f"Next: cloudrouter delete {progress.machine_id}")


def tell_upload(upload: Mapping[str, Any] | None) -> None:
    """On stderr: what stayed behind, what changed while it was sent, what else should be known."""
    if upload is None:
        return
    if upload["left_behind"]:
        output.note(output.escape(upload["left_behind"]))
    for sentence in upload["notes"]:
        output.note(output.escape(sentence))
    for word, meaning in (("changed", "changed while being sent"), ("skipped", "not sent, no file or folder")):
        if upload[word]:
            shown = ", ".join(output.escape(one) for one in upload[word][:3])
            more = ", ..." if len(upload[word]) > 3 else ""
            output.note(f"{len(upload[word])} {meaning}: {shown}{more}")
