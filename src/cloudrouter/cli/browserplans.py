"""Steps of a batch as people and programs write them: arrays of words, command lines, objects."""

from __future__ import annotations

from cloudrouter.cli import browserfiles, browsersteps, output
from cloudrouter.wire.browsing import CLOSE, STEPS, STEPS_MOST, Step, session_fault
from cloudrouter.wire.errors import CloudRouterError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

FIELDS = ("verb", "words", "options", "session", "timeout_s")


class Plan:
    """One step of a batch: what the router is sent, and which files come and go."""

    __slots__ = ("body", "in_machine", "shown", "step", "wish")

    def __init__(self, step: Step, body: dict[str, Any], *, force: bool, in_machine: bool) -> None:
        self.step = step
        self.body = body
        self.in_machine = in_machine
        self.shown = _shown(step, body["words"], body["options"])
        """The verb and the words that are no secret."""
        self.wish = self._wish(force=force) if step.gives else None

    def _wish(self, *, force: bool) -> browserfiles.Wish:
        wish = browserfiles.take_gift(self.step, self.body["words"], force=force, in_machine=self.in_machine)
        if not self.in_machine and wish.local in (None, browserfiles.STREAM):
            raise UsageError(f"`{self.step.name}` in a batch needs a file's name.", fix="Name one behind it.")
        browserfiles.picture_options(wish, self.body["options"])
        return wish

    def send(self, transport: Transport, machine: str) -> None:
        """Send the files that the step needs."""
        if self.in_machine:
            self.body["words"] = browserfiles.machine_paths(self.step, self.body["words"], transport, machine)
        elif self.step.takes:
            self.body["words"] = browserfiles.send(self.step, self.body["words"], transport, machine)


def read_plans(steps: list[Any], args: Namespace) -> list[Plan]:
    """Every step, read before any is done; the error of a wrong one names its number."""
    if len(steps) > STEPS_MOST:
        raise UsageError(f"A batch has {STEPS_MOST} steps at most, not {len(steps)}.", fix="Send several.")
    plans = []
    for number, item in enumerate(steps, 1):
        try:
            plans.append(_read_one(item, args))
        except CloudRouterError as error:
            error.message = f"Step {number}: {error.message}"
            raise
    return plans


def _read_one(item: Any, args: Namespace) -> Plan:
    if isinstance(item, dict):
        return _read_object(item, args)
    if isinstance(item, str):
        import shlex

        try:
            item = shlex.split(item)
        except ValueError as error:
            raise UsageError(f"It is no command line: {error}.", fix="Close its quotes.") from None
    if not isinstance(item, list) or not item or not all(isinstance(word, str) for word in item):
        raise UsageError(
            "It is neither an array of words, nor a command line, nor an object.", fix='Write ["click", "@e2"].'
        )
    return _read_words(item, args)


def _read_words(item: list[str], args: Namespace) -> Plan:
    """`["click", "@e2", "--new-tab"]`, with the flags that the verb has on a command line."""
    step = _step(item[0])
    if not any(word.startswith("-") for word in item[1:]):
        body = _body(step, item[1:], {}, None, args)
        return Plan(step, body, force=args.force, in_machine=False)
    from cloudrouter.cli.parsing import parse_words
    from cloudrouter.cli.table import load_verb

    found = parse_words(f"browser {step.name}", load_verb("browser").inner[step.name], [args.machine, *item[1:]])
    for name in ("stdin", "follow", "json"):
        if getattr(found, name, False):
            raise UsageError(f"--{name} is not for a step of a batch.", fix="Leave it out.")
    body = _body(step, found.words, browsersteps.read_options(step, found), found.session, args)
    if found.timeout is not None:
        body["timeout_s"] = browsersteps.timeout_of(found)
    return Plan(
        step,
        body,
        force=args.force or getattr(found, "force", False),
        in_machine=getattr(found, "in_machine", False),
    )


def _read_object(item: dict[str, Any], args: Namespace) -> Plan:
    """`{"verb": "click", "words": ["@e2"], "options": {"new-tab": true}}`."""
    unknown = [key for key in item if key not in FIELDS]
    if unknown:
        raise UsageError(f"It has an unknown field {output.escape(unknown[0])!r}.", fix=f"Fields: {', '.join(FIELDS)}.")
    step = _step(item.get("verb"))
    words, options = item.get("words", []), item.get("options", {})
    if not isinstance(words, list) or not isinstance(options, dict):
        raise UsageError("Its words are no array, or its options no object.", fix='{"words": [], "options": {}}')
    _check_options(step, options)
    body = _body(step, words, options, item.get("session"), args)
    timeout = item.get("timeout_s")
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            raise UsageError("Its timeout_s is no number of seconds.", fix="Write a number above 0.")
        body["timeout_s"] = float(timeout)
    return Plan(step, body, force=args.force, in_machine=False)


def _check_options(step: Step, options: dict[str, Any]) -> None:
    known = {option.name: option for option in step.options}
    for name, value in options.items():
        option = known.get(name)
        if option is None:
            names = ", ".join(known) or "none"
            raise UsageError(f"`{step.name}` has no option {output.escape(name)!r}.", fix=f"It has: {names}.")
        if not isinstance(value, str if option.value else bool):
            wanted = "a text" if option.value else "true or false"
            raise UsageError(f"The option {name!r} of `{step.name}` is {wanted}.", fix="Write it so.")


def _step(name: Any) -> Step:
    """The step of that name; UsageError for one that no batch can have."""
    if isinstance(name, str) and name in STEPS:
        return STEPS[name]
    if name == CLOSE:
        from cloudrouter.cli.verbs.browser import OWN

        return OWN[0]
    from cloudrouter.cli.parsing import suggest

    word = output.escape(name)
    raise UsageError(
        f"`browser batch` has no step {word!r}.",
        fix=suggest(word, list(STEPS)) or "See which there are.",
        next="cloudrouter browser --help",
    )


def _body(step: Step, words: list[Any], options: dict[str, Any], session: Any, args: Namespace) -> dict[str, Any]:
    fault = None if session is None else session_fault(session)
    if fault:
        raise UsageError(f"Its session is no session's name: {fault}.", fix="Write it like main or agent-2.")
    options = {name: value for name, value in options.items() if value is not False}
    browsersteps.check_words(step, words, options)
    return {
        "verb": step.name,
        "words": list(words),
        "options": options,
        "session": session,
        "timeout_s": browsersteps.timeout_of(args),
    }


def _shown(step: Step, words: list[str], options: dict[str, Any]) -> str:
    """`click @e2`: without words that may be a secret."""
    open_words = {"find": 3 + (words[:1] == ["nth"]), "eval": 1, "select": len(words)}.get(step.name, 0)
    kept = []
    for at, word in enumerate(words):
        name = browsersteps.bare(step.words[min(at, len(step.words) - 1)]) if step.words else ""
        if name not in browsersteps.SECRETS or at < open_words:
            kept.append(output.cut(output.escape(word), 60))
    if step.name == "wait":
        kept += [output.cut(output.escape(f"--{name} {value}"), 60) for name, value in options.items()]
    return " ".join([step.name, *kept])
