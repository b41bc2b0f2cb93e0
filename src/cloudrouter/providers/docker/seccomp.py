"""The system calls that a machine may make: an allow-list by purpose, which any engine takes as JSON.

As strict as Docker's own list, but for namespaces and mounts: a browser's sandbox and containers without root are made
of them, and the kernel itself asks for the capabilities of the namespace that they are made in. A call that is not
listed fails with EPERM; one that programs probe for, and have another way without, says ENOSYS.
"""

from __future__ import annotations

import functools
import json
from typing import Any

EPERM, ENOSYS = 1, 38
ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_EQUAL, _LESS, _GREATER, _MASKED = "SCMP_CMP_EQ", "SCMP_CMP_LT", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"
AF_ALG, AF_VSOCK = 38, 40

_ALLOWED = {
    "files": """
        access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
        fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64
        fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
        ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init
        inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr listxattrat llistxattr
        _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat
        open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
        removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat
        stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64
        umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev fanotify_mark listmount
    """,
    "asynchronous input and output": """
        epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
        eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll
        ppoll_time64 pselect6 pselect6_time64 select _newselect signalfd signalfd4 pipe pipe2
    """,
    "memory": """
        brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
        mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_madvise
        process_mrelease remap_file_pages cachestat
    """,
    "processes and threads": """
        arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait
        futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid getegid32 geteuid geteuid32 getgid
        getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid
        getresuid32 getrlimit ugetrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set kill modify_ldt
        pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask
        rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
        sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler sched_yield set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid
        setfsuid32 setgid setgid32 setgroups setgroups32 setitimer getitimer setpgid setpriority setregid setregid32
        setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaction
        sigaltstack signal sigpending sigprocmask sigreturn sigsuspend tgkill tkill vfork wait4 waitid waitpid
        uretprobe
    """,
    "debuggers": "kcmp pidfd_getfd process_vm_readv process_vm_writev ptrace",
    "network": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
        recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair
    """,
    "time": """
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
        clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep pause time timer_create timer_delete
        timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
        timerfd_gettime64 timerfd_settime timerfd_settime64 times
    """,
    "messages between processes": """
        ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
        mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
    """,
    "the system's state": "getrandom sysinfo uname",
    "sandboxes of a program's own": """
        landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp lsm_get_self_attr lsm_list_modules
        lsm_set_self_attr
    """,
    "namespaces, for browsers' sandboxes and containers without root": """
        chroot mount pivot_root setdomainname sethostname setns umount umount2
    """,
    "other processors": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
}
"""Purpose -> calls that anybody may make."""

_ABSENT = """
    add_key clone3 fsconfig fsmount fsopen fspick io_uring_enter io_uring_register io_uring_setup keyctl mount_setattr
    move_mount open_tree open_tree_attr request_key socketcall
"""
"""Programs try them and have another way: kernel keys (which namespaces do not part), rings of requests and the newer
way to mount (both with a history of holes), the old door to sockets, which hides their family from this list, and the
newer clone, whose flags lie in memory where no list can look."""

_NEW_CGROUP = 0x02000000
"""CLONE_NEWCGROUP. In a namespace of its own a machine's root could mount the control groups and write its own limits:
their files belong to the host's root, whose number is the machine's root's, too."""

_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Plain Linux, 32-bit addresses, an old version number, and the question which one it is."""


def profile() -> dict[str, Any]:
    """The profile as engines read it."""
    rules: list[dict[str, Any]] = [
        {"names": names.split(), "action": ALLOW, "comment": purpose} for purpose, names in _ALLOWED.items()
    ]
    rules += [
        {"names": ["personality"], "action": ALLOW, "args": [_argument(0, value, _EQUAL)]} for value in _PERSONALITIES
    ]
    # Conditions of one rule on the same argument would count as alternatives: what is left out lies between rules.
    between = [_argument(0, AF_ALG, _LESS)], [_argument(0, AF_ALG + 1, _EQUAL)], [_argument(0, AF_VSOCK, _GREATER)]
    rules += [{"names": ["socket"], "action": ALLOW, "args": one} for one in between]
    plain = [_argument(0, _NEW_CGROUP, _MASKED)]  # valueTwo: none of that bit
    rules.append({"names": ["clone", "unshare"], "action": ALLOW, "args": plain})
    rules.append({"names": _ABSENT.split(), "action": REFUSE, "errnoRet": ENOSYS})
    return {
        "defaultAction": REFUSE,
        "defaultErrnoRet": EPERM,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": rules,
    }


@functools.cache
def option() -> str:
    """What `SecurityOpt` takes; the same text every time."""
    return "seccomp=" + json.dumps(profile(), separators=(",", ":"))


def _argument(index: int, value: int, operation: str) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": 0, "op": operation}
