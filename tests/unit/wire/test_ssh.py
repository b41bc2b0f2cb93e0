"""Host names of machines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.wire import ids
from cloudrouter.wire.ssh import host_names
from cloudrouter.wire.sshdoor import ref_of


def test_a_machine_has_its_names() -> None:
    assert host_names("cr_7k2m9xqd", "") == ["cr_7k2m9xqd", "cr-7k2m9xqd", "cr_7k2m9xqd.cr", "cr-7k2m9xqd.cr"]
    assert host_names("cr_7k2m9xqd", "my-project")[-1] == "my-project.cr"


def test_every_name_leads_back() -> None:
    refs = {ids.from_dns_label(ref_of(name)) for name in host_names("cr_7k2m9xqd", "my-project")}
    assert refs == {"cr_7k2m9xqd", "my-project"}


@pytest.mark.parametrize(
    "host", ["", ".cr", "a.b.cr", "a b", "A", "a\n", "a/b", "..", "../x.cr", "a'", "$(x)", "x" * 256, "é.cr", "\0"]
)
def test_what_is_no_host_of_ours_is_nothing(host: str) -> None:
    assert ref_of(host) == ""


@given(st.text())
def test_a_reference_is_safe_in_paths_and_shells(host: str) -> None:
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-_" for c in ref_of(host))
