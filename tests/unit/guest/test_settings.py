"""What the guest takes from its environment, and what it gives back to commands."""

from __future__ import annotations

import pytest

from cloudrouter.guest.settings import forget_coerced_locale, take_settings

BORN = {"CLOUDROUTER_MACHINE_ID": "cr_7k2m9xqd", "CLOUDROUTER_TOKEN_SHA256": "a" * 64}


def test_variables_held_back_for_the_guest_come_back_for_commands() -> None:
    env = {
        **BORN,
        "CLOUDROUTER_HELD_LD_PRELOAD": "/lib/x.so",
        "CLOUDROUTER_HELD_LD_LIBRARY_PATH": "/a:/b",
        "OTHER": "1",
    }
    take_settings(env)
    assert env == {"LD_PRELOAD": "/lib/x.so", "LD_LIBRARY_PATH": "/a:/b", "OTHER": "1"}


@pytest.mark.parametrize(
    ("born_with", "left"),
    [
        (b"PATH=/bin\0LANG=C\0", {}),
        (b"PATH=/bin\0LC_CTYPE=C.UTF-8\0", {"LC_CTYPE": "C.UTF-8"}),
        (b"NOT_LC_CTYPE=x\0", {}),
    ],
)
def test_locale_that_python_made_up_is_not_inherited(born_with: bytes, left: dict[str, str]) -> None:
    env = {"LC_CTYPE": "C.UTF-8"}
    forget_coerced_locale(env, born_with)
    assert env == left
    forget_coerced_locale(env, born_with)
    assert env == left
