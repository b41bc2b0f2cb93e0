"""What the verbs about apps, ports and terminals share: how the router is asked, and what an older guest means."""

from __future__ import annotations

from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, NotFound, Unsupported, UsageError
from cloudrouter.wire.flavours import OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from cloudrouter.client.transport import Transport

    T = TypeVar("T")

START_TIMEOUT_S = 300.0
"""How long an app may take to start before the router counts as silent; the machine's own limits are shorter."""
_UNKNOWN = "There is no operation"


def ask(
    transport: Transport,
    machine: str,
    method: str,
    *rest: str,
    body: Any = None,
    query: Sequence[tuple[str, str]] = (),
    timeout: float | None = None,
) -> Any:
    """One request about a machine."""
    path = routes.query(routes.machine(machine, *rest), query)
    return told_older(machine, lambda: transport.call(method, path, body, timeout=timeout))


def told_older(machine: str, work: Callable[[], T]) -> T:
    """What the work comes to; Unsupported in place of what a guest says that is older than these verbs."""
    try:
        return work()
    except UsageError as error:
        if not error.message.startswith(_UNKNOWN):
            raise
        raise Unsupported(
            f"The program in {machine} is older than this verb and cannot do it.",
            fix="Machines that are started from now on can; `ssh` and `ssh -t` work in this one.",
            next="cloudrouter start",
        ) from None


def start_app(transport: Transport, machine: str, app: str) -> dict[str, Any]:
    """Start an app and wait until it is healthy, with a live line meanwhile; its state."""
    from cloudrouter.cli.progress import LiveLine
    from cloudrouter.client import served

    line = LiveLine()
    line.show(f"starting {app}")
    try:
        answer = ask(transport, machine, "POST", "apps", app, "start", timeout=START_TIMEOUT_S)
    except (NotFound, UsageError) as error:
        raise explained(error, transport, machine, app) from None
    finally:
        line.clear()
    return served.read_app(answer)


def explained(error: CloudRouterError, transport: Transport, machine: str, app: str) -> CloudRouterError:
    """The error, or a better one where the machine's image has no such app."""
    try:
        facts = transport.call("GET", routes.machine(machine))
    except CloudRouterError:
        return error  # The machine itself is not there: that is what the first error says.
    has = facts.get("apps")
    if not isinstance(has, list) or app in has:
        return error
    name, image = facts.get("name") or facts.get("id"), facts.get("image")
    if app not in OURS:
        return NotFound(
            f"There is no app {app} in {name}.",
            fix=f"Apps in it: {', '.join(map(str, has)) or 'none'}.",
            next=f"cloudrouter apps {machine}",
        )
    return NotFound(
        f"There is no app {app} in {name}: its image is {image}.",
        fix=f"Apps in it: {', '.join(map(str, has))}."
        if has
        else "Start a machine that has it; an image has no app added later.",
        next=f"cloudrouter start --apps {app} DIR",
    )
