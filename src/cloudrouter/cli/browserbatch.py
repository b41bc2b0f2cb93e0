"""`browser batch`: many steps in one call; a failure comes with its number, a picture and the page's snapshot."""

from __future__ import annotations

import json
import sys

from cloudrouter.cli import browserfiles, browsershow, browsersteps, output
from cloudrouter.cli.browserplans import Plan, read_plans
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.wire import routes
from cloudrouter.wire.browsing import STEPS
from cloudrouter.wire.errors import CloudRouterError, Internal, NotFound, UsageError, from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

NEXT = "cloudrouter browser batch --help"


def run(args: Namespace) -> int:
    """Do the steps, tell each, and end with the status of the first that failed."""
    session = browsersteps.session_of(args)
    plans = read_plans(_read(args.file), args)
    picture = browserfiles.Wish(STEPS["screenshot"], args.screenshot, force=args.force, in_machine=False)
    for wish in [picture, *(plan.wish for plan in plans if plan.wish is not None)]:
        wish.check()
    transport = connect_own_version()
    for plan in plans:
        plan.send(transport, args.machine)
    answer = _ask(transport, args, session, plans)
    for plan, one in zip(plans, answer["answers"], strict=False):
        if plan.wish is not None and "error" not in one:
            one["saved"] = browserfiles.bring(plan.wish, one, transport, args.machine)
    if answer.get("failed") is not None:
        _save_picture(answer, picture, transport, args.machine)
    error = _failure(plans, answer, args.machine, session)
    if args.json:
        output.say_json(answer if error is None else {**answer, "error": error.to_json()})
    else:
        _tell(plans, answer, args.machine, session)
    if error is None:
        return 0
    output.show_error(error)
    return error.exit_code


def _read(path: str | None) -> list[Any]:
    """The array of steps in a file or on stdin."""
    try:
        if path is None or path == "-":
            if sys.stdin is None or output.is_terminal(sys.stdin):
                raise UsageError(
                    "`browser batch` needs its steps.", fix="Name a file of JSON, or send it to stdin.", next=NEXT
                )
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
        steps = json.loads(data)
    except OSError as error:
        shown = output.escape(path)
        raise NotFound(f"{shown} cannot be read: {(error.strerror or 'unknown error').lower()}.", next="ls") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The steps are no JSON: {error}.", fix='Write [["click", "@e2"], ...].', next=NEXT) from None
    if not isinstance(steps, list) or not steps:
        raise UsageError("The steps are no array with steps in it.", fix='Write [["click", "@e2"], ...].', next=NEXT)
    return steps


def _ask(transport: Transport, args: Namespace, session: str, plans: list[Plan]) -> dict[str, Any]:
    body = {"steps": [plan.body for plan in plans], "session": session, "keep_going": args.keep_going}
    patience = sum(float(plan.body["timeout_s"]) for plan in plans) + browsersteps.PATIENCE_S
    answer = transport.call("POST", routes.machine(args.machine, "browser", "batch"), body, timeout=patience, once=True)
    answers = answer.get("answers") if isinstance(answer, dict) else None
    if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
        raise Internal("The router answered a batch with something that is no answer.")
    for one in answers:
        if "error" not in one:
            browsersteps.check(one)
    return answer  # type: ignore[no-any-return]


def _save_picture(answer: dict[str, Any], picture: browserfiles.Wish, transport: Transport, machine: str) -> None:
    """Bring the picture of the failure; a failure to do so is told and hides nothing."""
    made = answer.get("screenshot")
    answer["saved_screenshot"] = None
    if not isinstance(made, dict):
        return
    try:
        answer["saved_screenshot"] = browserfiles.bring(picture, {"file": made}, transport, machine)["path"]
    except CloudRouterError as error:
        output.note(f"The picture of the failure could not be fetched: {output.escape(error.message)}")


# -- telling --------------------------------------------------------------------------------------------------------


def _tell(plans: list[Plan], answer: dict[str, Any], machine: str, session: str) -> None:
    """Each step with what it gave; at a failure the page's snapshot behind them."""
    for number, (plan, one) in enumerate(zip(plans, answer["answers"], strict=False), 1):
        _tell_step(number, plan, one)
        if "error" not in one:
            browsersteps.tell(one, machine, str(one.get("session") or session))
    snapshot = answer.get("snapshot")
    if isinstance(snapshot, str) and snapshot:
        output.say()
        browsershow.text(snapshot)
    if answer.get("saved_screenshot"):
        output.note(f"Its picture is in {output.escape(answer['saved_screenshot'])}.")


def _tell_step(number: int, plan: Plan, one: dict[str, Any]) -> None:
    head = f"{number}  {plan.shown}"
    if "error" in one:
        error = from_json(one["error"])
        output.say(f"{head}  {output.paint('failed', 'red', sys.stdout)}: {output.escape(error.message)}")
    elif plan.wish is not None and "in_machine" in one["saved"]:
        output.say(f"{head}  {output.escape(one['saved']['in_machine'])}")
    elif plan.step.shows:
        output.say(output.paint(head, "dim", sys.stdout))
        browsershow.show(plan.step, one)
    else:
        output.say(f"{head}  done")


def _failure(plans: list[Plan], answer: dict[str, Any], machine: str, session: str) -> CloudRouterError | None:
    """The first step's failure, with its number."""
    at = answer.get("failed")
    if not isinstance(at, int) or not 0 <= at < min(len(plans), len(answer["answers"])):
        return None
    one, plan = answer["answers"][at], plans[at]
    error = browsersteps.advised(from_json(one.get("error")), machine, str(one.get("session") or session))
    failed = sum("error" in one for one in answer["answers"])
    others = f" {failed - 1} more failed." if failed > 1 else ""
    left = len(plans) - len(answer["answers"])
    behind = f" {left} behind it {'was' if left == 1 else 'were'} not begun." if left else ""
    error.message = f"Step {at + 1}, {plan.shown}: {error.message}{others}{behind}"
    return error
