"""Dev container Features: what `devcontainer-feature.json` says, read strictly, and refused where it cannot be had."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudrouter.wire.errors import InvalidSpec

FILE = "devcontainer-feature.json"
INSTALL = "install.sh"
_NEEDS_MORE = {
    "capAdd": "more of the kernel than a machine is given",
    "dependsOn": "another Feature from a registry",
    "entrypoint": "a first process of its own",
    "mounts": "mounts of its own",
    "onCreateCommand": "a command at the machine's creation",
    "postAttachCommand": "a command after each attach",
    "postCreateCommand": "a command after the machine's creation",
    "postStartCommand": "a command after each start",
    "securityOpt": "other security settings",
    "updateContentCommand": "a command when the files change",
}
"""Key -> what a Feature that has it asks for, and does not get here."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Feature:
    """One Feature, as far as it matters here."""

    id: str
    options: Mapping[str, str]
    """Variable -> default, for install.sh."""
    environment: Mapping[str, str]
    """Variables of the image."""

    def variables(self) -> str:
        """A shell file that sets what install.sh may count on."""
        user = {"_REMOTE_USER": "user", "_REMOTE_USER_HOME": "/home/user"}
        user |= {"_CONTAINER_USER": "user", "_CONTAINER_USER_HOME": "/home/user"}
        return "".join(f"{name}={shlex.quote(text)}\n" for name, text in {**user, **self.options}.items())


def read(text: bytes) -> Feature:
    """What a Feature's file says; InvalidSpec for what is none, or asks for what no machine gives."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong(f"{FILE} is not JSON: {str(error)[:120]}.") from None
    if not isinstance(body, dict) or not isinstance(body.get("id"), str):
        raise wrong(f"{FILE} must be an object with an id.")
    for key, what in _NEEDS_MORE.items():
        if body.get(key):
            raise wrong(f"It asks for {what} ({key} in {FILE}), which it cannot have here.")
    if body.get("privileged"):
        raise wrong(f"It asks for a privileged machine (privileged in {FILE}), and there are none.")
    return Feature(body["id"], _options(body.get("options")), _environment(body.get("containerEnv")))


def _options(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise wrong(f"options in {FILE} must be an object of objects.")
    found = {}
    for name, option in value.items():
        default = option.get("default", "")
        if isinstance(default, bool):
            default = "true" if default else "false"
        if not isinstance(default, str) or "\0" in default:
            raise wrong(f"The default of the option {name[:40]!r} must be text or a truth value.")
        found[_variable(name)] = default
    return found


def _variable(option: str) -> str:
    """The variable of an option, by the rule of the Features' specification."""
    name = re.sub(r"^[0-9_]+", "_", re.sub(r"[^A-Za-z0-9_]", "_", option)).upper()
    if not _VARIABLE.fullmatch(name):
        raise wrong(f"{option[:40]!r} cannot be the name of an option.")
    return name


def _environment(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(f"containerEnv in {FILE} must be an object of texts.")
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name) or name.startswith("CLOUDROUTER_"):
            raise wrong(f"containerEnv sets {name[:40]!r}, which it may not.")
        if not isinstance(text, str) or any(char in text for char in "\0\n\r"):
            raise wrong(f"The variable {name} in containerEnv must be text on one line.")
    return dict(value)


def wrong(message: str) -> InvalidSpec:
    """The error for an app that cannot be taken."""
    return InvalidSpec(
        message, fix="Mend the app's folder, or take another one.", next="cloudrouter start --help", field="app"
    )
