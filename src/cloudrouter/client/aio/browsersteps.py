"""One step of a machine's browser, for programs that await: sent over a kept connection, and never twice."""

from __future__ import annotations

import os
from typing import Any

from cloudrouter.client import madefiles, stepping, transfer
from cloudrouter.client.aio.link import Link
from cloudrouter.client.files import Files
from cloudrouter.client.stepping import StepSettings
from cloudrouter.client.transport import Transport
from cloudrouter.wire import browsing, routes
from cloudrouter.wire.browserapi import MadeFile, StepAnswer


class AsyncBrowserSteps:
    """What every verb is made of."""

    def __init__(self, link: Link, machine_id: str, settings: StepSettings | None = None) -> None:
        self._link = link
        self._machine_id = machine_id
        self._settings = settings or StepSettings()

    async def do(self, verb: str, *words: object, timeout: float | None = None, **options: object) -> StepAnswer:
        """Do any step by its name on the command line; options are its flags, with `_` for `-`.

        timeout: seconds that the step itself may take. The browser is started where it does not run. Files are paths
        in the machine here. Raises StepFailed, or one of its kinds, when the browser cannot do it; TimedOut;
        NotConfigured when the machine has no browser.
        """
        body = stepping.step_body(self._settings, verb, words, options, timeout)
        return stepping.read_step(await self._ask("", body, once=browsing.is_once(verb)))

    async def _ask(self, rest: str, body: dict[str, Any], *, once: bool) -> Any:
        path = routes.browser(self._machine_id, *filter(None, [rest]))
        return await self._link.call("POST", path, body, timeout=stepping.patience(body), once=once)

    async def _send(self, local: str | os.PathLike[str]) -> str:
        """Put a file where a step can read it; its path there."""
        remote, name = stepping.inbox(local), os.fspath(local)
        await self._link.in_thread(lambda transport: transfer.upload(transport, self._machine_id, name, remote))
        return remote

    async def _fetch(self, made: MadeFile, local: str | os.PathLike[str]) -> str:
        """Bring what a step has made; where it is now."""
        target = os.fspath(local)
        data = madefiles.content_of(made.content, made.size)
        if data is not None:
            await self._link.in_thread(lambda _: madefiles.write(data, target))
            return target
        report = await self._link.in_thread(
            lambda transport: transfer.download(transport, self._machine_id, made.path, target, kind="file")
        )
        return str(report["path"])

    async def _content(self, answer: StepAnswer, path: str | os.PathLike[str] | None) -> bytes:
        """The bytes of what a step has made, which are written to path as well."""
        made = stepping.made_file(answer)
        data = madefiles.content_of(made.content, made.size)

        def read(transport: Transport) -> bytes:
            if data is not None:
                if path is not None:
                    madefiles.write(data, stepping.file_target(path))
                return data
            if path is None:
                return Files(transport, self._machine_id).read(made.path)
            target = stepping.file_target(path)
            report = transfer.download(transport, self._machine_id, made.path, target, kind="file")
            with open(report["path"], "rb") as file:
                return file.read()

        return await self._link.in_thread(read)
