"""A machine's browser: the one visible Chromium on its desktop, driven step by step.

browser = machine.browser
browser.open("http://localhost:3000")
print(browser.snapshot(interactive=True).text)
browser.click("@e2")
browser.screenshot("result.png")
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from cloudrouter.client import commands, stepping
from cloudrouter.client.browseracts import BrowserActs
from cloudrouter.client.browserlooks import BrowserLooks
from cloudrouter.client.stepping import BatchStep, Snapshot
from cloudrouter.wire import routes
from cloudrouter.wire.browserapi import BatchAnswer, Cdp, StepAnswer


class Browser(BrowserActs, BrowserLooks):
    """The browser of a machine, as its `browser`; it starts with the first step. May be shared by threads.

    A selector is a `@ref` of the last snapshot, or CSS. Steps of one session are done one after another; sessions go
    side by side, each in a tab of its own.
    """

    def session(self, name: str | None = None, *, timeout: float | None = None) -> Browser:
        """The same browser in a session of this name, or with another time for each step, in seconds."""
        return Browser(self._client, self._machine_id, self._settings.changed(name, timeout))

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions that there are: `name`, `since`, `steps`, `busy`, `url`."""
        return stepping.sessions(self.do("sessions"))

    def close(self) -> StepAnswer:
        """End the session: of `main` the browser itself ends, of another one its tabs are closed."""
        return self.do("close")

    def batch(self, steps: Iterable[BatchStep], *, keep_going: bool = False, check: bool = False) -> BatchAnswer:
        """Do many steps in one call: each its words, as `["click", "@e2"]`, or an object with `verb`, `words` ...

        It stops at the first that fails, unless keep_going; its answer then says which, with a picture and an outline
        of the page. check: raise that step's error. Files are paths in the machine here.
        """
        body = stepping.batch_body(self._settings, steps, keep_going=keep_going)
        answer = stepping.read_batch(self._ask("batch", body, once=True))
        return stepping.check_batch(answer) if check else answer

    def cdp(self, *, ttl: float | None = None) -> Cdp:
        """An address for programs that speak the Chrome DevTools Protocol, such as Playwright's `connect_over_cdp`.

        ttl: how many seconds it lets programs in, 600 if nothing else is said. Whoever has it controls the browser;
        `close_doors` ends it.
        """
        return stepping.read_cdp(self._ask("cdp", stepping.cdp_body(ttl), once=False))

    def follow(self, kind: str) -> Iterator[dict[str, Any]]:
        """What happens from now on, without end: kind is `console`, `errors` or `network`."""
        with self._client.open_stream(routes.machine(self._machine_id, "stream")) as stream:
            stream.send_text(json.dumps(stepping.follow_request(self._settings, kind)))
            while (message := stream.receive()) is not None:
                item = stepping.read_item(commands.read_text(message[1])) if message[0] == "text" else None
                if item is not None:
                    yield item

    # -- files --------------------------------------------------------------------------------------------------

    def snapshot(
        self,
        *,
        interactive: bool = False,
        compact: bool = False,
        urls: bool = False,
        depth: int | None = None,
        selector: str | None = None,
    ) -> Snapshot:
        """The page as an outline, with refs for the other verbs; they are good until the page changes.

        interactive: only what can be acted on. compact: without empty parts. urls: with the addresses of links.
        depth: so many levels at most. selector: of this part alone.
        """
        return stepping.snapshot(
            self.do("snapshot", interactive=interactive, compact=compact, urls=urls, depth=depth, selector=selector)
        )

    def screenshot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        full: bool = False,
        annotate: bool = False,
        selector: str | None = None,
        format: str | None = None,  # noqa: A002 - the verb's own word
        quality: int | None = None,
    ) -> bytes:
        """A picture of the page, as PNG unless format says `jpeg`; it is written to path as well.

        full: the whole page, not only what is seen. annotate: with the numbers of refs. selector: of this element.
        quality: of a JPEG, 0 to 100.
        """
        answer = self.do("screenshot", full=full, annotate=annotate, selector=selector, format=format, quality=quality)
        return self._content(answer, path)

    def pdf(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """The page as PDF, which is written to path as well."""
        return self._content(self.do("pdf"), path)

    def upload(self, selector: str, *files: str | os.PathLike[str]) -> StepAnswer:
        """Give files of this host to a file field."""
        return self.do("upload", selector, *[self._send(file) for file in files])

    def download(self, selector: str, path: str | os.PathLike[str], *, timeout: float | None = None) -> str:
        """Click what downloads and bring the file to path, or into it when that is a folder; where it is now."""
        answer = self.do("download", selector, timeout=timeout)
        made = stepping.made_file(answer)
        return self._fetch(made, stepping.file_target(path, made.name))

    def state_save(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """Cookies and storage as JSON, which is written to path as well."""
        return self._content(self.do("state-save"), path)

    def state_load(self, path: str | os.PathLike[str]) -> StepAnswer:
        """Cookies and storage from a file of this host."""
        return self.do("state-load", self._send(path))

    def har_stop(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """End the recording of requests; the HAR, which is written to path as well."""
        return self._content(self.do("har-stop"), path)

    def trace_stop(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """End the trace; what was recorded, which is written to path as well."""
        return self._content(self.do("trace-stop"), path)

    def profiler_stop(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """End the profile; what was recorded, which is written to path as well."""
        return self._content(self.do("profiler-stop"), path)
