"""Builder output becomes steps that only go forward, wherever the stream is cut and whoever built."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.images import recipe
from cloudrouter.images.steps import TAIL_LINES, Follower, Steps, clean_lines, titles

DOCKERFILE = """# comment
ARG BASE
FROM ${BASE}
ENV A=1

#: Packages
RUN set -eu; \\
    one; \\
    # inside
    two

#: Files
COPY a/ /
RUN last
"""
DOCKER = (
    "Step 1/6 : ARG BASE\nStep 2/6 : FROM ${BASE}\n ---> 12ab\nStep 3/6 : ENV A=1\n"
    "Step 4/6 : RUN set -eu;     one;     two\n ---> Running in 1\nGet:1 things\r\nGet:2 more\n"
    "Removing intermediate container 1\nStep 5/6 : COPY a/ /\nStep 6/6 : RUN last\ndone\nSuccessfully built 9\n"
)
PODMAN = "[2/2] STEP 3/5: RUN set -eu;     one;     two\nGet:1 things\nGet:2 more\nSTEP 4/5: COPY a/ /\n--> 12\ndone\n"


def followed(pieces: list[str]) -> list[Mapping[str, Any]]:
    events: list[Mapping[str, Any]] = []
    follower = Follower(DOCKERFILE, Steps("core", ["Base", "Packages", "Files"], events.append))
    for piece in pieces:
        follower.feed(piece)
    follower.end()
    return events


def test_titles_are_found_for_joined_instructions() -> None:
    assert titles(DOCKERFILE) == {"RUN set -eu; one; two": "Packages", "COPY a/ /": "Files"}


def test_titles_of_our_images_are_all_different() -> None:
    named = [title for part in recipe.load("core").parts for title in titles(part.dockerfile).values()]
    assert len(named) == len(set(named)) >= 5


def test_docker_output_gives_steps_with_details() -> None:
    events = followed([DOCKER])
    assert events == [
        {"step": "core 2/3: Packages", "at": 2, "of": 3, "detail": ""},
        {"step": "core 2/3: Packages", "at": 2, "of": 3, "detail": "Get:1 things"},
        {"step": "core 2/3: Packages", "at": 2, "of": 3, "detail": "Get:2 more"},
        {"step": "core 3/3: Files", "at": 3, "of": 3, "detail": ""},
        {"step": "core 3/3: Files", "at": 3, "of": 3, "detail": "done"},
    ]


def test_podman_output_gives_the_same_steps() -> None:
    assert [event["step"] for event in followed([PODMAN])] == [event["step"] for event in followed([DOCKER])]


@given(st.lists(st.integers(0, len(DOCKER)), max_size=12))
def test_output_cut_anywhere_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(DOCKER)]
    assert followed([DOCKER[a:b] for a, b in itertools.pairwise(edges)]) == followed([DOCKER])


@given(st.text())
def test_clean_lines_of_anything_hold_no_control_codes(text: str) -> None:
    for line in clean_lines(text):
        assert line
        assert not any(ord(char) < 32 or ord(char) == 127 for char in line if char != "\t")


def test_clean_lines_show_the_last_state_of_a_redrawn_line() -> None:
    assert clean_lines("10%\r50%\r100%\r\n\x1b[31mred\x1b[0m\n") == ["100%", "red"]


def test_tail_is_bounded_and_starts_anew_with_each_step() -> None:
    steps = Steps("core", ["A", "B"], lambda event: None)
    steps.begin("A")
    steps.say("\n".join(str(n) for n in range(100)))
    assert list(steps.tail) == [str(n) for n in range(100 - TAIL_LINES, 100)]
    steps.begin("B")
    assert not steps.tail
