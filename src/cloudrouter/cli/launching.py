"""What `start` and `run` share: the flags that describe a machine, the request made of them, and the launch."""

from __future__ import annotations

import os
import signal

from cloudrouter.cli import building, output, templating, values
from cloudrouter.cli.progress import StartProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from typing import Any

    from cloudrouter.client.ownapps import Chosen

_NO_GIT = ("cloning is not there yet", "Clone it here and start the folder, or clone it in an empty machine.")
_NO_OPEN = ("it prints an id and opens nothing", "Open it afterwards:  cloudrouter code ID --open")
NOT_HERE = {
    "-o": _NO_OPEN,
    "--open": _NO_OPEN,
    "--git": _NO_GIT,
    "-b": _NO_GIT,
    "--branch": _NO_GIT,
    "--docker": ("machines are containers of this host already", "Leave it out, or name another one with --provider."),
    "--idle-timeout": ("a machine has only a hard deadline yet", "Give --timeout, and `extend` it."),
}
"""Flags of `start` and `run` that other versions have."""


def add_machine_flags(parser: ArgumentParser) -> None:
    """The flags that describe the wanted machine."""
    from cloudrouter.wire.sizes import SIZES

    templating.add_template_flag(parser)
    parser.add_argument("-n", "--name", metavar="NAME", help="a name for it (default: made from the folder's name)")
    parser.add_argument("--size", metavar="SIZE", choices=tuple(SIZES), help=", ".join(SIZES))
    parser.add_argument("--cpu", metavar="N", type=values.cpus, help="cpus, also parts of one: 0.5")
    parser.add_argument("--memory", metavar="M", type=values.amount, help="memory: 512m, 8g; a bare number is MiB")
    parser.add_argument(
        "--disk", metavar="D", type=values.amount, help="a disk limit; refused where it cannot be enforced"
    )
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        help="what it boots from: full (the default), desktop, core, any Linux image such as debian:trixie, one you "
        "have built",
    )
    _add_app_flags(parser)
    parser.add_argument("--build", metavar="DIR", help="boot from what the Dockerfile in this folder builds")
    building.add_folder_flags(parser)
    parser.add_argument("-p", "--provider", metavar="P", help="who makes it (default: docker)")
    parser.add_argument(
        "--env",
        metavar="K[=V]",
        action="append",
        default=[],
        help="set a variable for all commands in it; K alone takes your own value, as it should be for secrets: what "
        "stands on the command line, other users of this host can see",
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        action="append",
        default=[],
        help="set the variables in a file of KEY=VALUE lines, as .env files are; --env is stronger",
    )
    parser.add_argument(
        "-l",
        "--label",
        metavar="K=V",
        action="append",
        default=[],
        help="remember a label with it, by which `ls` and the --all of other verbs find it",
    )
    parser.add_argument("--gpu", metavar="KIND[:N]", help="with a GPU; refused where the provider has none")
    parser.add_argument(
        "--volume",
        metavar="NAME:PATH[:ro]",
        action="append",
        default=[],
        help="a disk that outlives the machine, at PATH (~ is its home, a relative one is below the workspace); made "
        "when it is not there; several machines may have it at once",
    )
    parser.add_argument(
        "--no-package-cache",
        action="store_true",
        help="npm, pip, uv and cargo in it download from the registries themselves, past this host's cache",
    )


def _add_app_flags(parser: ArgumentParser) -> None:
    from cloudrouter.wire.flavours import OURS

    parser.add_argument(
        "--apps",
        metavar="A,B",
        action="append",
        default=[],
        help=f"with these apps on top of the image (core where none is named): {', '.join(OURS)}",
    )
    parser.add_argument(
        "--without",
        metavar="A,B",
        action="append",
        default=[],
        help="without these apps of the image (full where none is named)",
    )
    parser.add_argument(
        "--app",
        metavar="DIR|NAME=IMAGE",
        action="append",
        default=[],
        help="with an app of your own: the folder of a dev container Feature, or an image that runs beside it: "
        "db=postgres:16,port=5432",
    )


def add_folder_flags(parser: ArgumentParser) -> None:
    """The flags about which files are sent."""
    parser.add_argument("--with-secrets", action="store_true", help="send live secrets too: .env files, keys, tokens")
    parser.add_argument(
        "-e", "--exclude", metavar="PATTERN", action="append", default=[], help="leave out more, as in .gitignore"
    )


def build_request(args: Namespace, folder: str | None, *, timeout: float | None) -> dict[str, Any]:
    """The body of `POST /v1/machines`: flags first, then the template, then the person's settings for this folder.

    Fills in what the template says, see templating.apply.
    """
    templating.apply(args)
    from cloudrouter.wire.mounts import parse_mounts

    defaults = _defaults(folder, os.environ)
    request: dict[str, Any] = {
        "name": args.name,
        "size": args.size or defaults.get("size"),
        "cpu": args.cpu,
        "memory_bytes": args.memory,
        "disk_bytes": args.disk,
        "image": _image(args) or (None if args.build is not None else defaults.get("image")),
        "provider": args.provider or defaults.get("provider"),
        "env": _variables(args),
        "labels": values.read_labels(args.label),
        "mounts": parse_mounts(args.volume) or None,
        "timeout_seconds": timeout,
        "gpu": args.gpu,
        "package_cache": False if args.no_package_cache or defaults.get("package_cache") == "off" else None,
    }
    told = args.template_timeout or defaults.get("timeout")
    if timeout is None and told is not None:
        from cloudrouter.wire.durations import parse_duration

        request["timeout_seconds"] = parse_duration(told)
    return {key: value for key, value in request.items() if value not in (None, {})}


def _image(args: Namespace) -> str | None:
    if args.image is not None and args.build is not None:
        from cloudrouter.wire.errors import UsageError

        raise UsageError(
            "--image and --build both say what the machine boots from.",
            fix="Leave one of them out.",
            next="cloudrouter start --help",
        )
    image: str | None = args.image
    return image


def _variables(args: Namespace) -> dict[str, str]:
    """The template's, then those of files, then those of flags."""
    found = dict(args.template_env)
    if args.env_file:
        from cloudrouter.cli.envfile import read_env_files

        found.update(read_env_files(args.env_file, os.environ))
    return {**found, **values.read_env(args.env, os.environ)}


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
    args: Namespace,
    folder: str | None,
    request: dict[str, Any],
    progress: StartProgress,
    *,
    keep_on_failure: bool = False,
) -> dict[str, Any]:
    """Make the machine, put the files into it and run the template's commands; says what stayed behind."""
    from cloudrouter.cli.connection import connect_own_version
    from cloudrouter.client.launch import launch

    context = building.read_context(args, args.build)
    apps = _apps(args)
    try:
        progress.line.show("reaching the router")
        transport = connect_own_version()
        machine = launch(
            transport,
            folder,
            request,
            with_secrets=args.with_secrets,
            exclude=args.exclude,
            commands=args.commands_after,
            background=args.jobs_after,
            build=context,
            apps=apps,
            keep_on_failure=keep_on_failure,
            progress=progress,
        )
        if machine.get("mounts"):
            from cloudrouter.cli.volumes import tell_new_volumes

            tell_new_volumes(transport, machine)
    except KeyboardInterrupt:
        progress.line.clear()
        tell_interrupted(progress)
        raise
    finally:
        progress.line.clear()
    tell_upload(machine.get("upload"))
    tell_notes(machine)
    return machine


def _apps(args: Namespace) -> Chosen | None:
    """What --apps, --without and --app say; `a,b` twice is the same as `a,b,c,d`."""
    if not (args.apps or args.without or args.app):
        return None
    from cloudrouter.client.ownapps import Chosen

    return Chosen(values.read_list(args.apps), values.read_list(args.without), args.app)


def tell_notes(machine: Mapping[str, Any]) -> None:
    """On stderr: what the router wants the person to know of this start, such as apps that are not there yet."""
    notes = machine.get("notes")
    for note in notes if isinstance(notes, list) else ():
        output.note(output.escape(note))


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
