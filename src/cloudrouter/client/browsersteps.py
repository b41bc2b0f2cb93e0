"""One step of a machine's browser: sent over the SDK's kept connection, and never twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cloudrouter.client import madefiles, router, stepping, transfer
from cloudrouter.client.files import Files
from cloudrouter.client.stepping import StepSettings
from cloudrouter.client.transport import NotListening
from cloudrouter.wire import browsing, routes
from cloudrouter.wire.browserapi import MadeFile, StepAnswer

if TYPE_CHECKING:
    from cloudrouter.client.machines import Client


class BrowserSteps:
    """What every verb is made of."""

    def __init__(self, client: Client, machine_id: str, settings: StepSettings | None = None) -> None:
        self._client = client
        self._machine_id = machine_id
        self._settings = settings or StepSettings()

    def do(self, verb: str, *words: object, timeout: float | None = None, **options: object) -> StepAnswer:
        """Do any step by its name on the command line; options are its flags, with `_` for `-`.

        timeout: seconds that the step itself may take. The browser is started where it does not run. Files are paths
        in the machine here. Raises StepFailed, or one of its kinds, when the browser cannot do it; TimedOut;
        NotConfigured when the machine has no browser.
        """
        body = stepping.step_body(self._settings, verb, words, options, timeout)
        return stepping.read_step(self._ask("", body, once=browsing.is_once(verb)))

    def _ask(self, rest: str, body: dict[str, Any], *, once: bool) -> Any:
        path = routes.browser(self._machine_id, *filter(None, [rest]))
        transport, timeout = self._client.transport, stepping.patience(body)
        try:
            return transport.call("POST", path, body, timeout=timeout, once=once)
        except NotListening:
            router.revive(transport)
            return transport.call("POST", path, body, timeout=timeout, once=once)

    def _send(self, local: str | os.PathLike[str]) -> str:
        """Put a file where a step can read it; its path there."""
        remote = stepping.inbox(local)
        transfer.upload(self._client.transport, self._machine_id, os.fspath(local), remote)
        return remote

    def _fetch(self, made: MadeFile, local: str | os.PathLike[str]) -> str:
        """Bring what a step has made; where it is now."""
        data = madefiles.content_of(made.content, made.size)
        if data is not None:
            madefiles.write(data, os.fspath(local))
            return os.fspath(local)
        report = transfer.download(self._client.transport, self._machine_id, made.path, os.fspath(local), kind="file")
        return str(report["path"])

    def _content(self, answer: StepAnswer, path: str | os.PathLike[str] | None) -> bytes:
        """The bytes of what a step has made, which are written to path as well."""
        made = stepping.made_file(answer)
        data = madefiles.content_of(made.content, made.size)
        if data is not None:
            if path is not None:
                madefiles.write(data, stepping.file_target(path))
            return data
        if path is None:
            return Files(self._client.transport, self._machine_id).read(made.path)
        with open(self._fetch(made, stepping.file_target(path)), "rb") as file:
            return file.read()
