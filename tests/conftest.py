"""What all tests share: whether a container engine is there, and private folders for every test."""

from __future__ import annotations

import os
import signal
import socket

import pytest

ENGINE_SOCKETS = (
    "/var/run/docker.sock",
    f"{os.environ.get('XDG_RUNTIME_DIR', '/run')}/podman/podman.sock",
    "/run/podman/podman.sock",
)


def pytest_configure() -> None:
    """Tests send INT, QUIT and HUP to what they start; a runner in the background ignores some and hands that down."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def engine_answers() -> bool:
    """Whether some engine accepts connections now."""
    host = os.environ.get("DOCKER_HOST", "")
    if host.startswith("tcp://"):
        return True
    candidates = (host.removeprefix("unix://"),) if host else ENGINE_SOCKETS
    for path in candidates:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                continue
            return True
    return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without an engine its tests are skipped, with one visible line; where CI asks, that is a failure."""
    wanting = [item for item in items if item.get_closest_marker("engine")]
    if not wanting or engine_answers():
        return
    line = f"no container engine answers: {len(wanting)} tests that need one"
    if os.environ.get("CI") == "true":
        pytest.exit(f"{line} cannot run, and CI=true", returncode=1)
    for item in wanting:
        item.add_marker(pytest.mark.skip(reason="no container engine answers"))
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"SKIPPED: {line} are left out (make engine)", yellow=True)
