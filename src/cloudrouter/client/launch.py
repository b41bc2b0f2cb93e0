"""The path of `start`: a folder becomes a machine with the files in it, or nothing stays and the error says so."""

from __future__ import annotations

import os

from cloudrouter.client import ambient, router, transfer
from cloudrouter.client.selection import select
from cloudrouter.client.steps import Steps
from cloudrouter.client.transport import NotListening
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.trees.names import printable
from cloudrouter.trees.pack import PackReport, pack
from cloudrouter.wire import routes
from cloudrouter.wire.errors import (
    CloudRouterError,
    Conflict,
    NotFound,
    TransferFailed,
    Unreachable,
    UsageError,
    from_json,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from cloudrouter.client.contexts import Context
    from cloudrouter.client.ownapps import Chosen
    from cloudrouter.client.selection import Selection
    from cloudrouter.client.transport import Transport

    Progress = Callable[[dict[str, Any]], object]

ATTEMPTS = 3
"""How often the whole is tried when the router goes away in the middle."""
_NAMED = 5
_ANY = "built"
"""Stands for an image that is not built yet."""


def launch(
    transport: Transport,
    folder: str | None,
    request: Mapping[str, Any],
    *,
    with_secrets: bool = False,
    exclude: Iterable[str] = (),
    commands: Iterable[str] = (),
    background: Iterable[str] = (),
    build: Context | None = None,
    apps: Chosen | None = None,
    progress: Progress = lambda _event: None,
    keep_on_failure: bool = False,
) -> dict[str, Any]:
    """Start a machine, put the folder's files into its workspace, and return it as JSON once all is in place.

    `request` has the fields of wire.machines.StartMachine. folder None: an empty workspace. `commands` are lines for
    the login shell, run in the workspace one after the other once the files are there; one that fails is a failure
    of the start. Then each line of `background` becomes a job. `build`: a folder whose Dockerfile is built first, and
    is what the machine boots from. `apps`: what its image has more and less, and what runs beside it; the person's own
    are sent first, each with `{"phase": "sending_app", "folder"}`. The result is the machine's JSON with three more
    fields. `upload`: None without a folder, else `{"files", "dirs", "links", "bytes", "changed", "skipped",
    "left_behind", "notes"}`, left_behind being one line for people, empty when all was sent. `commands` and `jobs`:
    see steps.Steps.

    progress gets, in this order: `{"phase": "selecting"}`, `{"phase": "selected", "files", "bytes", "left_behind",
    "notes"}`, for a build `{"phase": "sending", "files"}` and any number of `{"phase": "building", "progress": {...}}`,
    `{"phase": "creating"}`, `{"phase": "created", "id", "machine"}`, any number of `{"phase": "booting",
    "event" or "progress": {...}}`, `{"phase": "booted", "id"}`, `{"phase": "uploading", "files", "bytes", "rate",
    "total_files", "total_bytes", "done"}`, what steps.Steps tells, `{"phase": "ready", "id"}`. After a failure:
    `{"phase": "removing", "id"}` and `{"phase": "removed", "id"}`, `{"phase": "kept", "id", "reason"}` or
    `{"phase": "unkept", "id", "reason"}` (it was to be kept, and the router will remove it), or
    `{"phase": "unknown", "reason"}` when the router never told an id: what it may have begun it removes by itself,
    soon. After the router went away: `{"phase": "reconnecting"}`.

    What is wrong with the folder is found before anything is made. On failure and KeyboardInterrupt the machine is
    deleted again (unless keep_on_failure: then it stays, as far as it came) and the error's message says so.
    """
    selection = None if folder is None else _select(folder, progress, with_secrets=with_secrets, exclude=exclude)
    body = {**ambient.collect(os.environ), **request, "provisional": True}
    if apps is not None:
        apps.check(_ANY if build is not None else body.get("image"))
    if build is not None:
        from cloudrouter.client import contexts

        built = contexts.build(transport, build, provider=body.get("provider"), progress=progress)
        body["image"] = built["name"]
    if apps is not None:
        _choose_apps(transport, body, apps, progress)
    if folder is not None:
        name = os.path.basename(os.path.abspath(folder))
        shown = os.fsencode(name).decode("utf-8", "replace")
        body["labels"] = {"folder": shown, **(request.get("labels") or {})}
    start = _Start(transport, body, progress, Steps(commands, background, progress))
    try:
        return start.run(folder, selection)
    except BaseException as error:
        start.undo(error, keep=keep_on_failure)
        raise


def _choose_apps(transport: Transport, body: dict[str, Any], apps: Chosen, progress: Progress) -> None:
    """Put image and sidecars into the request; where nothing was chosen, no word of them."""
    image = apps.image(transport, body.get("image"), progress)
    body.update({} if image is None else {"image": image})
    body.update({"sidecars": apps.sidecars} if apps.sidecars else {})


def _select(folder: str, progress: Progress, *, with_secrets: bool, exclude: Iterable[str]) -> Selection:
    """What of the folder is sent; NotFound, UsageError or TransferFailed when it cannot be."""
    shown = printable(os.fsencode(folder))
    progress({"phase": "selecting"})
    if not folder:
        raise UsageError(
            "The folder's name is empty.",
            fix="Write . for the current folder; an empty word often comes from a variable that is not set.",
            next="cloudrouter start .",
        )
    if folder.startswith(("http://", "https://", "git@", "ssh://")):
        raise UsageError(
            f"{shown} is an address, and `start` takes a folder; cloning is not there yet.",
            fix="Clone it here and start the folder, or clone it in an empty machine.",
            next=f"git clone {shown}",
        )
    if not os.path.lexists(folder):
        raise NotFound(
            f"There is no folder {shown}.",
            fix="Check the path; without a folder the machine starts with an empty workspace.",
            next="cloudrouter start",
        )
    if not os.path.isdir(folder):
        raise UsageError(
            f"{shown} is not a folder.",
            fix="Give the folder that the file is in, or start empty and upload it.",
            next=f"cloudrouter start {printable(os.fsencode(os.path.dirname(folder) or '.'))}",
        )
    selection = select(folder, with_secrets=with_secrets, exclude=exclude)
    if selection.unreadable:
        names = [f"{printable(item.path)} ({item.detail})" for item in selection.unreadable]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise TransferFailed(
            f"Nothing was started: {shown} holds what cannot be read: {', '.join(names[:_NAMED])}{more}.",
            fix="Make it readable, or leave it out with --exclude or a .cloudrouterignore file.",
            next=f"cloudrouter start {shown} --exclude {printable(selection.unreadable[0].path)}",
        )
    progress(
        {
            "phase": "selected",
            "files": selection.files,
            "bytes": selection.total_bytes,
            "left_behind": selection.summary(),
            "notes": selection.notes,
        }
    )
    return selection


class _Start:
    """One start: what has been asked for, what has come of it, and how to take it back."""

    def __init__(self, transport: Transport, body: dict[str, Any], progress: Progress, steps: Steps) -> None:
        self._transport = transport
        self._body = body
        self._progress = progress
        self._steps = steps
        self._key = os.urandom(16).hex()
        self._asked = False
        self._id: str | None = None
        self._upload: dict[str, Any] | None = None

    def run(self, folder: str | None, selection: Selection | None) -> dict[str, Any]:
        """All steps; each may be repeated, so after a lost router they are, from the first."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt > 1:
                    self._progress({"phase": "reconnecting"})
                    router.revive(self._transport)
                return self._try(folder, selection)
            except (ConnectionLost, NotListening):
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError  # The last attempt returns or raises.

    def _try(self, folder: str | None, selection: Selection | None) -> dict[str, Any]:
        self._progress({"phase": "creating"})
        machine = self._create()
        self._progress({"phase": "created", "id": machine["id"], "machine": machine})
        self._await_boot(machine["id"])
        self._progress({"phase": "booted", "id": machine["id"]})
        if folder is not None and selection is not None and self._upload is None:
            self._upload = self._send(machine["id"], folder, selection)
        self._steps.run(self._transport, machine["id"])
        confirmed: dict[str, Any] = self._transport.call("POST", routes.machine(machine["id"], "confirm"))
        self._progress({"phase": "ready", "id": machine["id"]})
        return {**confirmed, "upload": self._upload, "commands": self._steps.commands, "jobs": self._steps.jobs}

    def _create(self) -> dict[str, Any]:
        """Ask for the machine; asked again, the key brings the same one."""
        for _ in range(ATTEMPTS):
            repeated, self._asked = self._asked, True
            try:
                return self._ask()
            except Unreachable:
                raise  # The answer was lost: the machine may exist.
            except Conflict:
                if not repeated:
                    self._asked = False
                    raise
                continue  # With our first request, which the router is still at; the next one finds its row.
            except CloudRouterError:
                self._asked = repeated
                raise
        return self._ask()

    def _ask(self) -> dict[str, Any]:
        headers = {routes.IDEMPOTENCY_HEADER: self._key}
        machine = self._transport.call("POST", routes.MACHINES, self._body, headers=headers)
        if not isinstance(machine, dict) or not isinstance(machine.get("id"), str):
            raise Unreachable("The router did not say which machine it made.", next="cloudrouter ls")
        self._id = machine["id"]
        return machine

    def _await_boot(self, machine_id: str) -> None:
        booted = False
        for message in self._transport.lines("GET", routes.machine(machine_id, "wait")):
            if "error" in message:
                raise from_json(message["error"])
            if "machine" in message:
                booted = True  # Its last line; reading on to the end keeps the connection for the next call.
            else:
                self._progress({"phase": "booting", **message})
        if not booted:
            raise ConnectionLost("The router stopped reporting before the machine was ready.")

    def _send(self, machine_id: str, folder: str, selection: Selection) -> dict[str, Any]:
        totals = {"total_files": selection.files, "total_bytes": selection.total_bytes}
        report = PackReport()
        chunks = pack(folder, selection.paths, report=report)
        done = transfer.put(
            self._transport,
            machine_id,
            ".",
            "tree",
            chunks,
            report,
            progress=lambda event: self._progress({**event, **totals}),
        )
        return {**done, "left_behind": selection.summary(), "notes": list(selection.notes)}

    # -- taking it back -----------------------------------------------------------------------------------------

    def undo(self, error: BaseException, *, keep: bool) -> None:
        """Delete what was made and say in the error what became of it."""
        if not self._asked:
            return
        if keep and self._id is not None:
            self._keep(error, self._id)
            return
        try:
            self._remove()
        except CloudRouterError as failure:
            if self._id is None:
                # No answer ever told an id. What is provisional and not confirmed does not stay.
                self._progress({"phase": "unknown", "reason": failure.message})
                _add(error, "If a machine was begun, the router removes it by itself.")
                return
            self._tell_kept(error, f"removing it failed: {failure.message}", f"cloudrouter delete {self._id}")
            return
        if self._id is not None:
            self._progress({"phase": "removed", "id": self._id})
            _add(error, f"The machine {self._id} was removed again.")
            if isinstance(error, CloudRouterError) and self._id in error.next:
                error.next = "cloudrouter start --keep-on-failure"  # A look into what is no more helps nobody.

    def _keep(self, error: BaseException, machine_id: str) -> None:
        """Confirm the machine as it is: one that nobody confirms is removed by the router soon."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt > 1:
                    router.revive(self._transport)
                self._transport.call("POST", routes.machine(machine_id, "confirm"))
            except (ConnectionLost, NotListening) as failure:
                if attempt == ATTEMPTS:
                    self._tell_unkept(error, machine_id, failure)
            except CloudRouterError as failure:
                self._tell_unkept(error, machine_id, failure)
                return
            else:
                self._tell_kept(error, "as asked", f"cloudrouter ssh {machine_id}")
                return

    def _tell_unkept(self, error: BaseException, machine_id: str, failure: CloudRouterError) -> None:
        """The truth where keeping has failed: the router removes what nobody has confirmed."""
        self._progress({"phase": "unkept", "id": machine_id, "reason": failure.message})
        _add(
            error,
            f"The machine {machine_id} could not be kept, so the router removes it within minutes: {failure.message}",
            f"cloudrouter status {machine_id}",
        )

    def _remove(self) -> None:
        """Delete the machine; when its id never arrived, the same request with the same key tells it."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt > 1:
                    router.revive(self._transport)
                if self._id is None:
                    self._create()
                self._progress({"phase": "removing", "id": self._id})
                self._transport.call("DELETE", routes.machine(self._id or ""))
            except NotFound:
                return
            except (ConnectionLost, NotListening):
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def _tell_kept(self, error: BaseException, reason: str, following: str) -> None:
        self._progress({"phase": "kept", "id": self._id, "reason": reason})
        _add(error, f"The machine {self._id} was kept ({reason.rstrip('.')}).", following)


def _add(error: BaseException, sentence: str, following: str = "") -> None:
    """Put a sentence behind the error's message, and the command that comes next."""
    if isinstance(error, CloudRouterError):
        error.message = f"{error.message} {sentence}"
        error.args = (error.message,)
        error.next = following or error.next
