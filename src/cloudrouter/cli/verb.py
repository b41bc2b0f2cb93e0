"""What a verb is to the command line: how to read its words, what to run, what to show as help."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Sequence


class Verb:
    """One verb, or one of the verbs below `server`, `image` and `config`."""

    def __init__(
        self,
        usage: str,
        *,
        description: str,
        examples: Sequence[tuple[str, str]],
        configure: Callable[[ArgumentParser], None] | None = None,
        run: Callable[[Namespace], int] | None = None,
        before_command: int | Callable[[str], bool] | None = None,
        own_failure: int | None = None,
        inner: dict[str, Verb] | None = None,
        alone: str = "",
        not_here: dict[str, tuple[str, str]] | None = None,
        texts: bool = False,
        group: str = "",
        summary: str = "",
        before_inner: Sequence[str] = (),
    ) -> None:
        self.usage = usage
        """What stands after the verb: `[flags] ID [CMD...]`."""
        self.description = description
        self.examples = examples
        """(command line, what it does); a test reads each with the real parser."""
        self.configure = configure
        self.run = run
        self.before_command = before_command
        """What stands before a command whose flags are not ours: so many words, or one word if it passes the test.

        None where no command is taken.
        """
        self.own_failure = own_failure
        """The exit status of every failure of ours, for verbs whose status is the command's."""
        self.inner = inner or {}
        """The verbs below this one."""
        self.alone = alone
        """Which of the verbs below is meant when none is named; empty: the page is shown."""
        self.not_here = not_here or {}
        """Flags, or verbs below this one, that people try -> (why it is not there, what to do instead)."""
        self.texts = texts
        """Whether its words are texts of any kind: negative numbers too; `args.words` has all behind the first."""
        self.group = group
        """Under which heading the verb above lists it; empty: under none."""
        self.summary = summary or description
        """What the verb above says of it, in one line."""
        self.before_inner = before_inner
        """Flags with a value that may stand before the name of a verb below, as well as behind it."""
