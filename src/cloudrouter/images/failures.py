"""A broken build in words: which step, what it said last, and what helps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, NoCapacity, ProviderBug, Unreachable

_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_NETWORK = re.compile(
    r"could not resolve|temporary failure|name or service not known|connection (timed out|refused|reset)"
    r"|network is unreachable|unable to connect|certificate_verify_failed|max retries exceeded|failed to fetch"
    r"|no route to host|newconnectionerror|no such host|dial tcp",
    re.IGNORECASE,
)
_STATUS = re.compile(r"(?:non-zero code: |exit status )(\d+)")
"""What is worth telling of an engine's own sentence, which repeats the whole command."""
_PREFIX = re.compile(r"^The container engine (?:refuses|answered \d+): ")
_BUILDKIT = re.compile(r"requires BuildKit|buildkit is (not )?enabled|unknown flag: ", re.IGNORECASE)
_NO_SHELL = re.compile(r'exec: "/bin/sh": .*no such file', re.IGNORECASE)
_OTHER_MACHINE = re.compile(r"exec format error", re.IGNORECASE)
_REFUSES = "cloudrouter refuses: "


def of_our_own(name: str, step: str, reason: str, tail: Iterable[str]) -> CloudRouterError:
    """Building one of our images failed."""
    tail = list(tail)
    message = _message(f"Building the image {name} failed at the step {step!r}", reason, tail)
    return _known(message, "\n".join([*tail, reason]), f"cloudrouter image build {name}", step, tail) or ProviderBug(
        message, fix="see the step's last lines above", next=f"cloudrouter image build {name}", step=step, output=tail
    )


def of_layering(name: str, step: str, reason: str, tail: Iterable[str]) -> CloudRouterError:
    """Putting the guest into a foreign image failed, mostly because that image cannot carry one."""
    tail = list(tail)
    everything = "\n".join([*tail, reason])
    refusal = next((line.partition(_REFUSES)[2] for line in tail if _REFUSES in line), "")
    if step == "Account" and not tail and _STATUS.search(reason):
        refusal = "its shell /bin/sh does not work"
    if _NO_SHELL.search(everything):
        refusal = "it has no shell /bin/sh, by which commands are run"
    elif _OTHER_MACHINE.search(everything):
        refusal = "its programs are made for another kind of processor"
    if refusal:
        return InvalidSpec(
            f"The image {name} cannot become a machine: {refusal}.",
            fix="Take an image with a shell for this processor, or add what it lacks by a Dockerfile: --build DIR.",
            next="cloudrouter start --build DIR",
            field="image",
        )
    return of_our_own(name, step, reason, tail)


def of_app(image: str, app: str, step: str, reason: str, tail: Iterable[str]) -> CloudRouterError:
    """An app's install.sh, or its builder, failed: mostly its own affair, or that of the image that it goes into."""
    tail = list(tail)
    everything = "\n".join([*tail, reason])
    refusal = next((line.partition(_REFUSES)[2] for line in tail if _REFUSES in line), "")
    if _NO_SHELL.search(everything):
        refusal = "it has no shell /bin/sh, by which apps are installed"
    if refusal:
        what = "apps" if app == "apps" else f"the app {app}"
        return InvalidSpec(
            f"The image {image} cannot have {what}: {refusal}.",
            fix="Take another image, such as core or debian:bookworm, or leave it out.",
            next="cloudrouter image ls",
            field="image",
        )
    message = _message(f"Putting the app {app} into {image} failed at the step {step!r}", reason, tail)
    return _known(message, everything, f"cloudrouter image build {image}", step, tail) or InvalidSpec(
        message,
        fix="See the last lines of its install.sh above, and mend it, or leave the app out.",
        next=f"cloudrouter image build {image}",
        field="app",
        step=step,
        output=tail,
    )


def of_folder(name: str, step: str, reason: str, tail: Iterable[str]) -> CloudRouterError:
    """A person's Dockerfile failed: mostly its own affair."""
    tail = list(tail)
    everything = "\n".join([*tail, reason])
    message = _message(f"Building {name} failed at {step}" if step else f"Building {name} failed", reason, tail)
    if _BUILDKIT.search(everything):
        return InvalidSpec(
            message,
            fix="The engine's classic builder is used, which knows no RUN --mount and nothing else of BuildKit: leave "
            "that out, or build it with docker buildx and start it by its tag.",
            next="cloudrouter start --image TAG",
            step=step,
            output=tail,
        )
    fix = "See the step's last lines above, and mend the Dockerfile." if tail else "Mend the Dockerfile."
    return _known(message, everything, "cloudrouter doctor", step, tail) or InvalidSpec(
        message, fix=fix, field="build", step=step, output=tail
    )


def _message(begin: str, reason: str, tail: list[str]) -> str:
    status = _STATUS.search(reason)
    shown = f"its command ended with status {status[1]}." if status else _PREFIX.sub("", reason)
    return "\n".join([f"{begin}: {shown}", *tail])


def _known(message: str, everything: str, again: str, step: str, tail: list[str]) -> CloudRouterError | None:
    details: dict[str, Any] = {"step": step, "output": tail}
    if _FULL.search(everything):
        return NoCapacity(message, fix="free disk space where the engine keeps images", next=again, **details)
    if _NETWORK.search(everything):
        fix = "Check that this host reaches where the step downloads from: proxies, certificates, names."
        return Unreachable(message, fix=fix, next=again, **details)
    return None
