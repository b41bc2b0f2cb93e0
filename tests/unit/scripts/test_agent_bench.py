"""The scripted agents: they know what the manual says, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "bench"))
import agent  # noqa: E402 - a script's neighbour, not a package
import agent_tasks  # noqa: E402

sys.path.pop(0)

TEXT = """\
# CloudRouter
## Servers
```sh
JOB=$(cloudrouter ssh --bg "$ID" "npm run dev")  # prints a job id
cloudrouter wait "$ID" --port 3000  # ready
```
Read `cloudrouter logs ID --tail 5` for the end of a log.
"""


def test_manual_when_asked_by_words_then_prefers_the_verb_then_the_words_around() -> None:
    manual = agent.Manual(TEXT)
    assert manual.find("wait", "--port 3000") == 'cloudrouter wait "$ID" --port 3000'
    assert manual.find("--bg") == 'JOB=$(cloudrouter ssh --bg "$ID" "npm run dev")'
    assert manual.find("end of a log") == "cloudrouter logs ID --tail 5"
    assert manual.find("browser") is None


def test_fill_when_the_manual_has_no_such_example_then_fails_instead_of_inventing() -> None:
    line = 'JOB=$(cloudrouter ssh --bg "$ID" "npm run dev")'
    filled = agent.Agent.fill(line, {'"$ID"': "cr_x", "npm run dev": "sleep 1"})
    assert filled == 'cloudrouter ssh --bg cr_x "sleep 1"'
    with pytest.raises(agent.Failed):
        agent.Agent.fill(line, {"--port": "1"})


def test_agent_when_a_call_is_wrong_then_follows_its_advice_and_counts(tmp_path: Path) -> None:
    program = tmp_path / "cloudrouter"
    program.write_text(
        "#!/bin/sh\n[ $1 = fix ] && touch fixed && exit 0\n[ -e fixed ] && echo done && exit 0\n"
        "echo 'Next: cloudrouter fix' >&2\nexit 255\n"
    )
    program.chmod(0o755)
    manual = agent.Manual("`cloudrouter stop my-project`")
    one = agent.Agent(manual, tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert one.do("stop").stdout == "done\n"
    assert (one.calls, one.wrong, one.retries, one.lookups) == (3, 1, 1, 0)
    assert one.bytes == len("Next: cloudrouter fix\n") + len("done\n")


def test_tasks_when_counted_then_are_twenty_with_a_goal_each() -> None:
    goals = [task.__doc__ for task in agent_tasks.TASKS]
    assert len(set(goals)) == 20
    assert all(goals)
