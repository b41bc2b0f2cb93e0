"""The gateway's small pages for people: what is in the way, and the one command that helps. Each is whole in itself."""

from __future__ import annotations

import html
from dataclasses import dataclass

from cloudrouter.server.gateway.pagestyle import FAVICON, ICONS, SCRIPT, STYLE, source_digest

KINDS = ("starting", "nothing_listens", "signed_out", "gone", "not_running", "refused", "app_failed")
WAITING = frozenset(("starting", "nothing_listens", "not_running", "app_failed"))
"""Pages that open what is behind them by themselves as soon as it is there."""

_USUAL_SECONDS = {"desktop": "two seconds", "vscode": "six seconds", "jupyter": "ten seconds"}
_TITLES = {"desktop": "The desktop", "vscode": "VS Code", "jupyter": "JupyterLab"}


@dataclass(frozen=True)
class _Words:
    """What a page says; all of it is plain text until it is rendered."""

    heading: str
    text: str
    commands: tuple[tuple[str, str], ...] = ()
    """Each with what it is for."""
    report: str = ""
    """What the machine said, shown as it is."""
    again: bool = False
    """Whether there is a button that loads the page anew."""


@dataclass(frozen=True)
class _Case:
    """What happened where; `command` is the one that helps here, if the caller knows it."""

    machine: str
    target: str
    name: str
    detail: str
    command: str

    @property
    def called(self) -> str:
        """What people call the target."""
        return f"Port {self.target}" if self.target.isdigit() else _TITLES.get(self.target, self.target)


def render(kind: str, *, machine: str, target: str, title: str = "", detail: str = "", command: str = "") -> bytes:
    """One page as HTML: everything escaped, styles and script inside, nothing loaded from anywhere.

    `machine` is the id, `title` the machine's name where whoever looks may know it, `detail` what is known about the
    case (a reason, how long it takes), `command` the command that helps. Send it with POLICY.
    """
    case = _Case(machine, target, title or machine, detail, command)
    return _page(kind, case, _WORDS[kind](case)).encode("utf-8", "replace")


POLICY = (
    f"default-src 'none'; style-src {source_digest(STYLE)}; script-src {source_digest(SCRIPT)}; img-src data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of these pages: it knows their own style and script by their digests."""


def _starting(case: _Case) -> _Words:
    usual = _USUAL_SECONDS.get(case.target, "some seconds")
    text = f"Apps start when somebody looks. This one takes about {usual}; a busy host needs longer."
    return _Words(f"{case.called} is starting", text)


def _nothing_listens(case: _Case) -> _Words:
    port = case.target if case.target.isdigit() else ""
    commands = []
    if port:
        commands.append(("For example", f'cloudrouter ssh --bg {case.machine} "python3 -m http.server {port}"'))
    if case.command:
        commands.append(("See what listens", case.command))
    return _Words(
        f"Nothing listens on {f'port {port}' if port else case.called} yet",
        "Start a server on it in the machine. This page opens it as soon as it answers.",
        tuple(commands),
    )


def _signed_out(case: _Case) -> _Words:
    text = case.detail or "The link was used before, or the time it gave has ended."
    command = case.command or f"cloudrouter open {case.machine} {case.target}"
    return _Words(
        "This page needs a new link",
        f"{text} A link lets one browser in, once, within a minute.",
        (("A new one comes from", command),),
    )


def _gone(case: _Case) -> _Words:
    heading = f"{case.name} is gone" if case.name else "This machine is gone"
    text = case.detail or "It was deleted, and everything in it with it."
    return _Words(heading, text, (("See which machines there are", case.command or "cloudrouter ls"),))


def _not_running(case: _Case) -> _Words:
    text = "It is kept as it was left. Once it runs again, this page opens by itself."
    command = case.command or f"cloudrouter resume {case.machine}"
    return _Words(f"{case.name} is not running", text, (("Boot it again", command),))


def _refused(case: _Case) -> _Words:
    return _Words(
        "Another page asked for this",
        case.detail or "A machine answers only its own pages, and addresses that you open yourself.",
        (("Open it yourself", case.command or f"cloudrouter open {case.machine} {case.target}"),),
    )


def _app_failed(case: _Case) -> _Words:
    command = case.command or f"cloudrouter apps {case.machine} logs {case.target}"
    return _Words(
        f"{case.called} could not be reached",
        "This is what came back:" if case.detail else "No reason was given.",
        (("Look closer", command),),
        report=case.detail,
        again=True,
    )


_WORDS = {
    "starting": _starting,
    "nothing_listens": _nothing_listens,
    "signed_out": _signed_out,
    "gone": _gone,
    "not_running": _not_running,
    "refused": _refused,
    "app_failed": _app_failed,
}


def _page(kind: str, case: _Case, words: _Words) -> str:
    """The HTML around the words. Waiting pages say so to the script, and to browsers without it."""
    waits = kind in WAITING
    heading = html.escape(words.heading)
    parts = [
        "<!doctype html>",
        f'<html lang="en" data-kind="{kind}"{" data-waits" if waits else ""}>',
        f'<head><meta charset="utf-8"><title>{heading} · CloudRouter</title>',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">',
        '<noscript><meta http-equiv="refresh" content="3"></noscript>' if waits else "",
        f'<link rel="icon" href="{FAVICON}"><style>{STYLE}</style></head>',
        f'<body><main><div class="mark" aria-hidden="true">{ICONS[kind]}</div>',
        f"<h1{' role=status' if waits else ''}>{heading}</h1><p>{html.escape(words.text)}</p>",
        f"<pre class=report tabindex=0>{html.escape(words.report)}</pre>" if words.report else "",
        *(_command(label, command) for label, command in words.commands),
        '<p class=again><a class=button href="">Try again</a></p>' if words.again else "",
        f'<footer><span class="logo" aria-hidden="true">{ICONS["logo"]}</span>',
        f"<span>{html.escape(case.name or 'CloudRouter')}</span>",
        '<span class="waits">looks again by itself</span>' if waits else "",
        f"</footer></main><script>{SCRIPT}</script></body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _command(label: str, command: str) -> str:
    """A command to copy; its button shows only where a script can do that."""
    return (
        f"<div class=command><span class=label>{html.escape(label)}</span><div class=line>"
        f'<code>{html.escape(command)}</code><button type=button hidden class=copy aria-label="Copy the command">'
        f"{ICONS['copy']}</button></div></div>"
    )
