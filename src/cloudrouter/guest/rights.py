"""Starting a program with another account's rights, without the cost of a fork."""

from __future__ import annotations

import os
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudrouter.guest.environment import Account


@contextmanager
def of(account: Account) -> Iterator[None]:
    """Be the account for the time of one start; the guest keeps only its saved ids, by which it comes back.

    The kernel replaces the saved ids by the effective ones at exec, so a program started here cannot come back.
    Python can start it with vfork this way, which takes half the time of a fork that changes its ids in the child,
    and its folder is entered with the account's rights, too. Nothing may be awaited inside.
    """
    if not account.switch:
        yield
        return
    uids, gids, groups = os.getresuid(), os.getresgid(), os.getgroups()
    try:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, gids[1])
        os.setresuid(account.uid, account.uid, uids[1])
        yield
    finally:
        os.setresuid(*uids)
        os.setresgid(*gids)
        os.setgroups(groups)
