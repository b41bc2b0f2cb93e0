"""`-T NAME`: a template fills in the flags that were not given, as if they had been."""

from __future__ import annotations

import os

from cloudrouter.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from cloudrouter.client.templates import Template

_FLAGS = ("image", "size", "cpu", "memory", "disk", "gpu", "provider")
"""Keys of a template that are the flag of the same name."""


def add_template_flag(parser: ArgumentParser) -> None:
    """The flag of `start` and `run`."""
    parser.add_argument(
        "-T", "--template", metavar="NAME", help="what `templates show NAME` says, where no flag says otherwise"
    )


def apply(args: Namespace) -> None:
    """Put what the template says into the flags that were left out; raises what is wrong with the template.

    Sets args.template_env (its variables), template_timeout (a duration as text, or None), commands_after and
    jobs_after (lines). Without --template these are empty.
    """
    args.template_env, args.template_timeout, args.commands_after, args.jobs_after = {}, None, [], []
    if args.template is None:
        return
    from cloudrouter.client import templates

    here = os.getcwd()
    folder = args.folder if args.folder and os.path.isdir(args.folder) else here
    template = templates.find(args.template, folder, os.environ)
    _merge(args, template, _flag_words(args, template, folder))
    args.template_env = template.env_values(os.environ)
    args.template_timeout = None if template.timeout is None else str(template.timeout)
    args.commands_after, args.jobs_after = list(template.commands), list(template.background)
    args.label = [f"template={template.name}", *args.label]
    _tell(template, os.path.relpath(template.path, here) if template.path else "")


def _flag_words(args: Namespace, template: Template, folder: str) -> list[str]:
    """The template as words of the command line, without what a flag given by the person excludes."""
    from cloudrouter.client.templates import build_folder
    from cloudrouter.wire.mounts import parse_mount

    chosen = args.image is not None or getattr(args, "build", None) is not None
    words = [
        f"--{key}={getattr(template, key)}"
        for key in _FLAGS
        if getattr(template, key) is not None and not (key == "image" and chosen)
    ]
    if template.build is not None and not chosen:
        words.append(f"--build={build_folder(template, folder)}")
    words += _app_words(args, template, folder)
    if template.package_cache is False:
        words.append("--no-package-cache")
    own = {parse_mount(word)["path"] for word in args.volume}
    words += [f"--volume={word}" for word in template.volumes if parse_mount(word)["path"] not in own]
    return words + [f"--label={key}={value}" for key, value in template.labels.items()]


def _app_words(args: Namespace, template: Template, folder: str) -> list[str]:
    """Its apps; what a flag takes away is not added, and what one adds is not taken away."""
    from cloudrouter.cli.values import read_list
    from cloudrouter.client.templates import own_app

    added, taken = set(read_list(args.apps)), set(read_list(args.without))
    apps = [] if added else [app for app in template.apps if app not in taken]
    return [
        *(f"--apps={app}" for app in apps),
        *(f"--without={app}" for app in template.without if app not in added),
        *(f"--app={own_app(template, word, folder)}" for word in template.app),
    ]


def _merge(args: Namespace, template: Template, words: list[str]) -> None:
    """Read the words with the parser of `start`, and take each value that the person has not given."""
    from cloudrouter.cli.parsing import build_parser
    from cloudrouter.cli.table import load_verb
    from cloudrouter.wire.errors import UsageError

    parser = build_parser("start", load_verb("start"))
    try:
        told = vars(parser.parse_args(words))
    except UsageError as error:
        raise UsageError(
            f"The template {template.name} ({template.path or template.source}): {error.message}",
            fix="Correct the template.",
            next=f"cloudrouter templates show {template.name}",
        ) from None
    for dest, value in told.items():
        default = parser.get_default(dest)
        if value == default or not hasattr(args, dest):
            continue
        if isinstance(value, list):
            setattr(args, dest, [*value, *getattr(args, dest)])
        elif getattr(args, dest) == default:
            setattr(args, dest, value)


def _tell(template: Template, path: str) -> None:
    """On stderr, what the person should know of a template that came with a project."""
    from cloudrouter.client.templates import PROJECT

    if template.source != PROJECT:
        return
    shown = output.escape(path)
    if template.hides:
        output.note(
            f"cloudrouter: the template {template.name} is the project's ({shown}), not the {template.hides} one."
        )
    wanted = template.own_variables()
    if wanted:
        output.note(f"cloudrouter: {shown} gives the machine your own {', '.join(wanted)}.")
