"""Completion: what could stand at the cursor, the scripts of each shell, and where they are put."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli import completing, completionscripts
from cloudrouter.cli.completing import candidates, split_line
from cloudrouter.cli.table import VERBS
from cloudrouter.client import commands
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Unreachable

from .conftest import MACHINE, Cli, FakeTransport
from .fake_commands import FakeCommands

OTHER = {**MACHINE, "id": "cr_4hq2wn8t", "name": "", "state": "stopped"}
JOB = {"id": "job_4tq8w2", "state": "running", "code": None, "command": "x"}
PROGRAM = """\
#!{python}
import sys
from cloudrouter.cli import candidates, main
candidates._asked = lambda route, word: {machines!r} if word == "machines" else []
sys.exit(main.run(sys.argv[1:]))
"""


def words(line: str) -> list[str]:
    """The candidates that fit to a line typed so far."""
    typed = split_line(line)[1:]
    return [word for word, _ in candidates(typed[:-1], typed[-1]).items if word.startswith(typed[-1])]


@pytest.fixture
def machines(transport: FakeTransport) -> FakeTransport:
    transport.answers["GET", "/v1/machines"] = {"machines": [MACHINE, OTHER]}
    return transport


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cloudrouter sta", ["start", "stats", "status"]),
        ("cr lis", ["list"]),
        ("cloudrouter --ver", ["--verbose", "--version"]),
        ("cloudrouter --json -t acme upl", ["upload"]),
        ("cloudrouter help comp", ["completion"]),
        ("cloudrouter help server st", ["start", "status", "stop"]),
        ("cloudrouter server st", ["start", "status", "stop"]),
        ("cloudrouter server logs --fo", ["--follow"]),
        ("cloudrouter start --si", ["--size"]),
        ("cloudrouter start --size m", ["medium"]),
        ("cloudrouter start --size=m", ["--size=medium"]),
        ("cloudrouter new --size m", ["medium"]),
        ("cloudrouter start -T ", ["core", "desktop", "full"]),
        ("cloudrouter templates sh", ["show"]),
        ("cloudrouter templates --pro", ["--provider"]),
        ("cloudrouter templates show ", ["core", "desktop", "full"]),
        ("cloudrouter config set si", ["size"]),
        ("cloudrouter completion z", ["zsh"]),
        ("cloudrouter nosuch ", []),
        ("cloudrouter start --timeout ", []),
    ],
)
def test_word_when_half_typed_then_is_completed(line: str, found: list[str]) -> None:
    assert sorted(words(line)) == sorted(found)


def test_verbs_when_nothing_is_typed_then_are_all_there_without_their_other_names() -> None:
    assert words("cloudrouter ") == list(VERBS)


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cloudrouter status my", ["my-project"]),
        ("cloudrouter status cr_7", ["cr_7k2m9xqd"]),
        ("cloudrouter delete cr_4", ["cr_4hq2wn8t"]),
        ("cloudrouter delete my-project cr_", ["cr_4hq2wn8t"]),
        ("cloudrouter ssh --cwd /tmp my", ["my-project"]),
        ("cloudrouter cp my", ["my-project:"]),
        ("cloudrouter cp ./a my", ["my-project:"]),
        ("cloudrouter ssh my-project m", []),
    ],
)
def test_machine_when_half_typed_then_is_completed_by_name_or_id(line: str, found: list[str]) -> None:
    assert sorted(words(line)) == sorted(found)


def test_job_when_half_typed_then_is_one_of_that_machine(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(stream: str, request: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        assert (stream, request) == ("stream of /v1/machines/my-project/stream", {"op": "job.list"})
        assert timeout <= 1
        return {"jobs": [JOB, {**JOB, "id": "job_222222", "state": "exited", "code": 0}]}

    assert transport
    monkeypatch.setattr(commands, "ask", ask)
    assert words("cloudrouter logs my-project ") == ["job_222222", "job_4tq8w2"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cloudrouter apps my-project ", ["start", "stop", "logs"]),
        ("cloudrouter apps my-project stop ", ["desktop", "browser"]),
        ("cloudrouter open my-project ", ["3000", "desktop", "browser"]),
        ("cloudrouter forward my-project d", ["desktop"]),
        ("cloudrouter start --apps v", ["vscode"]),
        ("cloudrouter record my-project st", ["start", "stop", "status"]),
    ],
)
def test_app_or_port_when_half_typed_then_is_one_of_that_machine(
    transport: FakeTransport, line: str, found: list[str]
) -> None:
    transport.answers["GET", "/v1/machines"] = {"machines": [{**MACHINE, "apps": ["desktop", "browser"]}]}
    transport.answers["GET", "/v1/machines/my-project/ports"] = {"ports": [{"port": 3000, "process": "node"}, 5]}
    assert words(line) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cloudrouter browser scr", ["scroll", "scrollintoview", "screenshot"]),
        ("cloudrouter browser help scr", ["scroll", "scrollintoview", "screenshot"]),
        ("cloudrouter help browser wat", ["watch"]),
        ("cloudrouter browser click --new", ["--new-tab"]),
        ("cloudrouter browser scroll my-project ", ["up", "down", "left", "right"]),
        ("cloudrouter browser press my-project En", ["Enter"]),
        ("cloudrouter browser set-geo my-project -33.4 ", []),
        ("cloudrouter browser wait my-project --load n", ["networkidle"]),
        ("cloudrouter browser find my-project role button c", ["click", "check"]),
    ],
)
def test_browser_when_half_typed_then_is_completed(line: str, found: list[str]) -> None:
    assert words(line) == found


def test_session_of_the_browser_when_half_typed_then_is_one_of_that_machine(transport: FakeTransport) -> None:
    asked = "POST", "/v1/machines/my-project/browser"
    transport.answers[asked] = {"data": {"sessions": [{"name": "main", "url": "u"}, {"name": "two"}, 5]}}
    assert words("cloudrouter browser click my-project --session ") == ["main", "two"]
    assert transport.asked == [(*asked, {"verb": "sessions"})]
    transport.answers[asked] = {"data": None}
    assert words("cloudrouter browser click my-project --session ") == []


@pytest.mark.usefixtures("machines")
def test_machine_of_the_browser_when_half_typed_then_is_completed() -> None:
    assert words("cloudrouter browser snapshot -i my") == ["my-project"]
    assert candidates(["browser", "upload", "my-project", "@e1"], "a").kind == "files"


def test_terminal_when_half_typed_then_is_one_of_that_machine(machines: FakeTransport, machine: FakeCommands) -> None:
    assert machines
    machine.answer = {"ptys": [{"id": "pty_7k2m9xqd", "name": "build", "command": "make"}, {"id": "pty_4hq2wn8t"}, 3]}
    assert words("cloudrouter pty my-project --session ") == ["build", "pty_4hq2wn8t"]
    assert machine.requests == [{"op": "pty.list"}]


@pytest.mark.parametrize(
    "told", ["junk", {**JOB, "id": "job_$(id)x"}, {**JOB, "id": "-y"}, {**JOB, "state": "up"}, {"id": "job_222222"}]
)
def test_jobs_when_the_machine_lies_about_one_then_none_is_offered(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    assert transport
    monkeypatch.setattr(commands, "ask", lambda *_words, **_more: {"jobs": [JOB, told]})
    assert cli("__complete", "fish", "logs", "my-project", "") == (0, "words ends\n", "")


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_meaning_when_hostile_then_is_one_line_that_harms_no_terminal(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    assert transport
    job = {**JOB, "command": "a\nb\tc \x1b]0;gotcha\x07\u202e"}
    monkeypatch.setattr(commands, "ask", lambda *_words, **_more: {"jobs": [job]})
    _head, line = cli("__complete", shell, "logs", "my-project", "").out.splitlines()
    assert line[len("job_4tq8w2 ") :] == "running: a b c \\x1b]0;gotcha\\x07\\u202e"


@pytest.mark.parametrize("answer", [{"machines": None}, {"machines": ["x", 5]}, [], None, Unreachable("busy")])
def test_router_when_it_answers_nonsense_then_nothing_is_offered(transport: FakeTransport, answer: Any) -> None:
    transport.answers["GET", "/v1/machines"] = answer
    assert words("cloudrouter status ") == []


@pytest.mark.usefixtures("no_router")
def test_router_when_none_runs_then_none_is_started(cli: Cli) -> None:
    assert cli("__complete", "fish", "status", "") == (0, "words ends\n", "")


def test_names_when_hostile_then_never_reach_the_shell(cli: Cli, transport: FakeTransport) -> None:
    bad = [{**MACHINE, "name": name} for name in ("a b", "x\x1b[2J", "y\nz", "fine")]
    transport.answers["GET", "/v1/machines"] = {"machines": bad}
    out = cli("__complete", "bash", "cloudrouter status ").out
    assert out.splitlines() == ["words ends", "cr_7k2m9xqd", "cr_7k2m9xqd", "cr_7k2m9xqd", "fine", "cr_7k2m9xqd"]


RUNNING = ["a;id", "a&id", "a|id", "$(id)", "`id`", "a$IFS", "!!", "*", "a?", "{a,b}", "~", "a'b", 'a"b', "a\\b", "a>b"]
"""Words that bash would run, expand or read on from, were they put on its line as they are."""


@pytest.mark.parametrize("shell", ["bash", "tcsh", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "route", "word"),
    [
        ("status", routes.MACHINES, "machines"),
        ("cp", routes.MACHINES, "machines"),
        ("volume rm", routes.VOLUMES, "volumes"),
        ("start --image", routes.IMAGES, "images"),
    ],
)
def test_names_when_a_shell_would_obey_them_then_are_not_offered(
    cli: Cli, transport: FakeTransport, shell: str, words: str, route: str, word: str
) -> None:
    names = [*RUNNING, "--all", "-y", "ab-1:x"]
    transport.answers["GET", route] = {word: [{"name": name, "id": name, "state": "running"} for name in names]}
    line = [f"cloudrouter {words} "] if shell in ("bash", "tcsh") else [*words.split(), ""]
    out = cli("__complete", shell, *line).out.replace("\\:", ":").splitlines()
    lines = out if shell == "tcsh" else out[1:]
    assert lines
    assert all(line.startswith("ab-1:x") for line in lines)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("cloudrouter start ", "folders"),
        ("cloudrouter upload x ", "files"),
        ("cloudrouter ssh x cat ", "files"),
        ("cloudrouter start --env-file ", "files"),
        ("cloudrouter cp ", "files"),
        ("cloudrouter ls ", "files"),
    ],
)
@pytest.mark.usefixtures("no_router")
def test_path_when_it_may_stand_there_then_the_shell_is_told(line: str, kind: str) -> None:
    typed = split_line(line)[1:]
    assert candidates(typed[:-1], typed[-1]).kind == kind


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a b", ["a", "b"]), ("a  ", ["a", ""]), ("a 'b c", ["a", "b c"]), ('a "b c" d', ["a", "b c", "d"]),
        ("a b\\ c", ["a", "b c"]), ("a ''", ["a", ""]), ("a '' b", ["a", "", "b"]), ("", [""]),
        ("a lab\\:x", ["a", "lab:x"]),
    ],
)  # fmt: skip
def test_line_when_split_then_quotes_are_read(line: str, found: list[str]) -> None:
    assert split_line(line) == found


@given(st.lists(st.text(max_size=6), max_size=5))
def test_anything_when_typed_then_completion_says_nothing_wrong(typed: list[str]) -> None:
    if "__complete" not in typed:
        found = candidates(typed[:-1], typed[-1] if typed else "")
        assert found.kind in (completing.WORDS, completing.FILES, completing.FOLDERS)


# -- the shells themselves ------------------------------------------------------------------------------------------


@pytest.fixture
def program(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `cloudrouter` on the PATH that knows one machine without a router."""
    folder = places / "bin"
    folder.mkdir()
    (folder / "cloudrouter").write_text(PROGRAM.format(python=sys.executable, machines=[MACHINE]))
    (folder / "cloudrouter").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (places / "work" / "my-file").write_text("")
    return folder


def shell(*command: str) -> list[str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "broken", "found"),
    [
        ("cloudrouter sta", ["sta"], ["start", "stats", "status"]),
        ("cloudrouter status my", ["my"], ["my-project"]),
        ("cloudrouter start --size=m", ["--size", "=", "m"], ["medium"]),
        ("cloudrouter upload x my", ["x", "my"], ["my-file"]),
        ("cloudrouter cp my", ["my"], ["my-file", "my-project:"]),
    ],
)
@pytest.mark.usefixtures("program")
def test_bash_when_it_asks_then_gets_the_candidates(line: str, broken: list[str], found: list[str]) -> None:
    script = (
        f"{completionscripts.SCRIPTS['bash']}\ncompopt() {{ :; }}\nCOMP_LINE={line!r} COMP_POINT={len(line)}\n"
        f"COMP_WORDS=(cloudrouter {' '.join(broken)}) COMP_CWORD={len(broken)}\n_cloudrouter cloudrouter\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert sorted(shell("bash", "-c", script)) == found


def test_bash_when_a_file_beside_machines_has_a_hostile_name_then_it_is_quoted(program: Path) -> None:
    (program.parent / "work" / "my$(touch bad);touch bad").write_text("")
    script = (
        f"{completionscripts.SCRIPTS['bash']}\ncompopt() {{ :; }}\nCOMP_LINE='cloudrouter cp my' COMP_POINT=17\n"
        "COMP_WORDS=(cloudrouter cp my) COMP_CWORD=2\n_cloudrouter cloudrouter\n"
        'for one in "${COMPREPLY[@]}"; do eval "printf \'%s\\n\' $one"; done'
    )
    assert sorted(shell("bash", "-c", script)) == ["my$(touch bad);touch bad", "my-file", "my-project:"]
    assert not (program.parent / "work" / "bad").exists()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.usefixtures("program")
def test_fish_when_it_asks_then_gets_the_candidates() -> None:
    script = completionscripts.SCRIPTS["fish"]
    assert shell("fish", "-c", f"{script}\ncomplete -C 'cloudrouter status my'") == ["my-project\tcr_7k2m9xqd running"]
    assert "my-file" in shell("fish", "-c", f"{script}\ncomplete -C 'cloudrouter upload x my'")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.usefixtures("program")
def test_zsh_when_it_asks_then_gets_the_candidates() -> None:
    script = (
        "autoload -Uz compinit; compinit -u -D\n_files() { print files }\n"
        '_describe() { print -rl -- "$lines[@]" }\n'
        f"{completionscripts.SCRIPTS['zsh']}\nwords=(cloudrouter cp my) CURRENT=3; _cloudrouter"
    )
    assert shell("zsh", "-f", "-c", script) == ["my-project\\::cr_7k2m9xqd running", "files"]


def test_scripts_when_read_by_their_shells_then_are_sound(tmp_path: Path) -> None:
    for name, script in completionscripts.SCRIPTS.items():
        (tmp_path / name).write_text(script)
        if name != "tcsh" and shutil.which(name):
            done = subprocess.run([name, "-n", str(tmp_path / name)], check=False, capture_output=True)
            assert (done.returncode, done.stderr) == (0, b"")


# -- the verb -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bash", "zsh", "fish", "tcsh"])
@pytest.mark.flag("completion --json")
def test_completion_when_printed_then_is_the_script(cli: Cli, name: str) -> None:
    assert cli("completion", name).out.rstrip() == completionscripts.SCRIPTS[name].rstrip()
    assert cli("completion", name, "--json").json == {"shell": name, "script": completionscripts.SCRIPTS[name]}
    assert "cr" in completionscripts.SCRIPTS[name].split()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "bash",
            [".local/share/bash-completion/completions/cloudrouter", ".local/share/bash-completion/completions/cr"],
        ),
        ("zsh", [".local/share/zsh/site-functions/_cloudrouter"]),
        ("fish", [".config/fish/completions/cloudrouter.fish", ".config/fish/completions/cr.fish"]),
    ],
)
@pytest.mark.flag("completion --install")
def test_install_when_called_twice_then_writes_once_and_says_where(
    cli: Cli, places: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str]
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("BASH_COMPLETION_USER_DIR", raising=False)
    monkeypatch.setenv("SHELL", f"/usr/bin/{name}")
    wanted = [str(places / "home" / file) for file in files]
    assert cli("completion", "--install").out.splitlines() == [f"{file}  written" for file in wanted]
    stamps = [os.stat(file).st_mtime_ns for file in wanted]
    assert all(Path(file).read_text() == completionscripts.SCRIPTS[name] for file in wanted)
    found = cli("completion", "--install", "--json").json
    assert (found["files"], found["changed"]) == (wanted, [])
    assert [os.stat(file).st_mtime_ns for file in wanted] == stamps


def test_install_when_zsh_does_not_look_there_then_says_the_line_that_is_missing(cli: Cli, places: Path) -> None:
    assert "fpath=(" in cli("completion", "zsh", "--install").err
    folder = places / "home" / ".local" / "share" / "zsh" / "site-functions"
    (places / "home" / ".zshrc").write_text(f"fpath=({folder} $fpath)\n")
    assert "fpath=(" not in cli("completion", "zsh", "--install").err


def test_install_when_it_cannot_be_written_then_is_refused(cli: Cli, places: Path) -> None:
    (places / "home" / ".config").mkdir(exist_ok=True)
    (places / "home" / ".config" / "fish").write_text("a file")
    found = cli("completion", "fish", "--install")
    assert found.code == 1
    assert "cannot be written" in found.err
    assert cli("completion", "tcsh", "--install").code == 2


def test_completion_when_the_shell_is_unknown_then_names_those_there_are(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Fix:  They are made for bash, zsh, fish, tcsh." in cli("completion", "nu").err
    monkeypatch.delenv("SHELL", raising=False)
    assert cli("completion").code == 2
