"""The main job on a real project, each step shown: folder -> machine -> commands -> result -> gone.

Every line that starts with `$` is a command that is really run, and what stands below it is its output.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLI = str(ROOT / ".venv" / "bin" / "cloudrouter")
EXAMPLE = ROOT / "examples" / "todo-web"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: str) -> str:
    """The text in a colour, where there are colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def say(text: str) -> None:
    """A heading of one step."""
    print("\n" + paint(f"# {text}", "1;36"), flush=True)


class StepFailed(Exception):
    """A step's command did not end with 0."""


def run(*words: str) -> None:
    """Run one command of the CLI with its output as it comes."""
    print(paint("$ " + shlex.join(["cloudrouter", *words]), "1"), flush=True)
    done = subprocess.run([CLI, *words], check=False)
    if done.returncode != 0:
        raise StepFailed(f"the command above ended with {done.returncode}")


def start(folder: Path) -> str:
    """Start a machine from a folder; its id."""
    print(paint(f"$ cloudrouter start {folder.relative_to(ROOT)}", "1"), flush=True)
    done = subprocess.run([CLI, "start", str(folder), "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise StepFailed(f"start ended with {done.returncode}")
    machine = json.loads(done.stdout)
    print(f"{machine['id']}  {machine['name']}  {machine['state']}, answered after {machine['ready_ms']} ms")
    return str(machine["id"])


def the_main_job(machine: str) -> None:
    """What an agent does in an ordinary hour, on the example."""
    say("Install and test, as if it were here: output streams, exit codes are exact")
    run("ssh", machine, "node --version && npm ci")
    run("ssh", machine, "npm test --silent 2>&1 | tail -12; exit ${PIPESTATUS[0]}")
    say("A dev server in the background, and a request against it from inside")
    run("ssh", machine, "--bg", "npm run dev")
    ask = "curl -fs --retry 40 --retry-delay 1 --retry-all-errors http://localhost:3000/ | grep -o '<title>.*</title>'"
    run("ssh", machine, ask)
    run("logs", machine, "--tail", "8")
    say("Build, and bring the result home")
    run("ssh", machine, "npm run build --silent")
    with tempfile.TemporaryDirectory(prefix="cloudrouter-demo-") as home:
        run("download", machine, "dist", f"{home}/dist")
        for path in sorted(Path(home).rglob("*")):
            if path.is_file():
                print(f"  {path.relative_to(home)}  {path.stat().st_size} bytes")


def the_browser(machine: str) -> None:
    """How an agent sees for itself that its work works."""
    say("The browser: an agent opens the page, looks, acts, and looks again")
    run("browser", "open", machine, "http://localhost:3000")
    run("browser", "snapshot", "-i", machine)
    run("browser", "find", machine, "label", "New to-do", "fill", "Water the plants")
    run("browser", "press", machine, "Enter")
    run("browser", "wait", machine, "--text", "Water the plants")
    run("browser", "get-text", machine, "[role=status]")
    with tempfile.TemporaryDirectory(prefix="cloudrouter-demo-") as folder:
        run("browser", "screenshot", machine, f"{folder}/page.png")


def the_desk(machine: str) -> None:
    """What a person sees of the machine."""
    say("Its desktop: apps start when somebody looks, and stop when nobody does")
    with tempfile.TemporaryDirectory(prefix="cloudrouter-demo-") as folder:
        run("screenshot", machine, f"{folder}/desktop.png")
    run("apps", machine)
    run("vnc", machine)


def main() -> int:
    """Engine, image, then the job; whatever happens, the machine made here is deleted."""
    began = time.monotonic()
    engine = [sys.executable, str(ROOT / "scripts" / "engine.py"), "up", *sys.argv[1:]]
    say("A container engine")
    if subprocess.run(engine, check=False).returncode != 0:
        return 1
    machine = None
    try:
        say("The machine image (the first time takes some minutes, afterwards it is there)")
        # The larger one, with an editor and notebooks, is then built by the router while this goes on.
        run("image", "build", "desktop")
        say("A local folder becomes a machine")
        machine = start(EXAMPLE)
        the_main_job(machine)
        the_browser(machine)
        the_desk(machine)
    except StepFailed as error:
        print(paint(f"\nThe demo stopped: {error}.", "1;31"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if machine is not None:
            say("Throw it away")
            run("delete", machine)
    run("ls")
    print(paint(f"\nDone in {time.monotonic() - began:.0f} s.", "1;32"), end=" ")
    print("VS Code and Jupyter come with the image `full`: .venv/bin/cloudrouter image ls tells how far it is.")
    print("Your turn: .venv/bin/cloudrouter start ./your-project")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
