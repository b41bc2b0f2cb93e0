"""The list of system calls: well formed, with what browsers and rootless containers need, without what harms."""

from __future__ import annotations

import json

import pytest

from cloudrouter.providers.docker import container, seccomp

FORBIDDEN = """
    acct bpf clock_settime create_module delete_module fanotify_init finit_module init_module ioperm iopl
    kexec_file_load kexec_load lookup_dcookie mbind migrate_pages move_pages nfsservctl open_by_handle_at
    perf_event_open quotactl quotactl_fd reboot set_mempolicy settimeofday stime swapoff swapon syslog userfaultfd
    vhangup vm86 vm86old
""".split()  # noqa: SIM905
ABSENT = [
    "add_key",
    "clone3",
    "keyctl",
    "request_key",
    "io_uring_setup",
    "fsopen",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "socketcall",
]


def rules(name: str) -> list[dict[str, object]]:
    return [rule for rule in seccomp.profile()["syscalls"] if name in rule["names"]]


def test_what_is_not_listed_is_refused() -> None:
    found = seccomp.profile()
    assert (found["defaultAction"], found["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert {rule["action"] for rule in found["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_calls_that_reach_the_host_are_not_listed(name: str) -> None:
    assert rules(name) == []


@pytest.mark.parametrize("name", ABSENT)
def test_calls_with_another_way_say_that_they_are_not_there(name: str) -> None:
    (rule,) = rules(name)
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize("name", ["chroot", "mount", "umount2", "pivot_root", "setns", "sethostname"])
def test_sandboxes_and_containers_without_root_get_what_they_are_made_of(name: str) -> None:
    (rule,) = rules(name)
    assert rule["action"] == "SCMP_ACT_ALLOW"
    assert "args" not in rule


@pytest.mark.parametrize("name", ["clone", "unshare"])
def test_namespaces_are_made_but_those_of_control_groups(name: str) -> None:
    (rule,) = rules(name)
    (argument,) = rule["args"]  # type: ignore[misc]
    assert (rule["action"], argument["index"], argument["op"]) == ("SCMP_ACT_ALLOW", 0, "SCMP_CMP_MASKED_EQ")
    harmless, cgroup = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000, 0x02000000
    assert harmless & argument["value"] == argument["valueTwo"]
    assert (harmless | cgroup) & argument["value"] != argument["valueTwo"]


def allowed(family: int) -> bool:
    compare = {"SCMP_CMP_LT": int.__lt__, "SCMP_CMP_EQ": int.__eq__, "SCMP_CMP_GT": int.__gt__}
    for rule in rules("socket"):
        (argument,) = rule["args"]  # type: ignore[misc]
        if compare[argument["op"]](family, argument["value"]):
            return True
    return False


def test_sockets_are_of_every_family_but_those_of_the_hypervisor_and_of_kernel_cryptography() -> None:
    assert [family for family in range(60) if not allowed(family)] == [38, 40]


def test_no_call_is_listed_twice() -> None:
    plain = [name for rule in seccomp.profile()["syscalls"] if "args" not in rule for name in rule["names"]]
    assert len(plain) == len(set(plain))


def test_machines_are_made_with_it() -> None:
    (option,) = container.security()["SecurityOpt"]
    assert json.loads(option.removeprefix("seccomp=")) == seccomp.profile()
