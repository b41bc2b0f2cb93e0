"""Which paths of a folder are sent to a machine, and what stays behind and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cloudrouter.client import ignore, secrets
from cloudrouter.client.ignore import Rules, decide
from cloudrouter.client.worktree import Worktree, read_worktree
from cloudrouter.trees.names import printable
from cloudrouter.wire.errors import NotFound, UsageError

IGNORED, SECRET, OUTSIDE, SPECIAL, UNREADABLE = "ignored", "secret", "outside link", "special", "unreadable"
_PLURALS = {
    IGNORED: ("ignored path", "ignored paths"),
    SECRET: ("secret", "secrets"),
    OUTSIDE: ("link that leads outside", "links that lead outside"),
    SPECIAL: ("special file", "special files"),
}
_NAMED = 3
_EFFECTIVE = os.access in os.supports_effective_ids
_ALL, _TRACKED_ONLY, _WHOLE = "all", "tracked only", "whole"


class LeftOut(NamedTuple):
    """A path that is not sent. An ignored folder is one path, whatever is in it."""

    path: bytes
    reason: str
    """`ignored`, `secret`, `outside link`, `special` or `unreadable`."""
    detail: str = ""


class Selection:
    """What `start` sends from a folder."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        """Relative to the folder, sorted, folders included and before what is in them."""
        self.files = 0
        self.total_bytes = 0
        self.left_out: list[LeftOut] = []
        self.unreadable: list[LeftOut] = []
        """What should be sent and cannot be read: nothing may be sent while this is not empty."""
        self.notes: list[str] = []
        """Sentences the person should see."""

    def summary(self) -> str:
        """One line on what stayed behind; empty when nothing did."""
        parts = []
        for reason, words in _PLURALS.items():
            paths = [printable(item.path, 60) for item in self.left_out if item.reason == reason]
            if paths:
                more = ", ..." if len(paths) > _NAMED else ""
                parts.append(f"{len(paths)} {words[len(paths) > 1]} ({', '.join(paths[:_NAMED])}{more})")
        if not parts:
            return ""
        hint = any(item.reason == SECRET for item in self.left_out)
        return f"Left behind: {', '.join(parts)}" + ("; --with-secrets sends secrets." if hint else ".")


def select(
    folder: str, *, with_secrets: bool = False, exclude: Iterable[str] = (), no_ignore: bool = False
) -> Selection:
    """Walk the folder and decide about each path; ignored folders are not entered.

    Strongest first: the exclude patterns, .cloudrouterignore files (with `!` they take in again), what git tracks,
    .gitignore files with info/exclude and the person's own. no_ignore drops all but the exclude patterns. `.git`
    is sent whole. Raises NotFound or UsageError for a folder that is none.
    """
    root = os.path.abspath(os.fsencode(folder))
    if not os.path.isdir(root):
        shown = printable(root)
        if os.path.lexists(root):
            raise UsageError(f"{shown} is not a folder.", fix="Give the folder that the machine is made from.")
        raise NotFound(f"There is no folder {shown}.", fix="Check the path; without one, the workspace is empty.")
    excluded = Rules(ignore.parse(os.fsencode("\n".join(exclude))))
    walk = _Walk(root, excluded, with_secrets=with_secrets, no_ignore=no_ignore)
    walk.run()
    walk.result.paths.sort()
    walk.result.left_out.sort()
    return walk.result


class _Place(NamedTuple):
    """A folder still to be walked."""

    path: bytes
    mode: str
    own: tuple[Rules, ...]
    git: tuple[Rules, ...]


class _Walk:
    def __init__(self, root: bytes, exclude: Rules, *, with_secrets: bool, no_ignore: bool) -> None:
        self.result = Selection()
        self._root = root
        self._exclude = exclude
        self._real_root = os.path.realpath(root)
        self._with_secrets = with_secrets
        self._no_ignore = no_ignore
        self._worktree = read_worktree(root, os.environ)
        self._tracked = self._worktree.tracked if self._worktree else frozenset()
        self._tracked_folders = _parents(self._tracked)

    def run(self) -> None:
        git = () if self._no_ignore else _rules_around(self._root, self._worktree)
        waiting = [_Place(b"", _ALL, (), git)]
        while waiting:
            waiting.extend(self._folder(waiting.pop()))

    def _folder(self, place: _Place) -> Iterator[_Place]:
        """Decide about each entry of a folder; yields the folders among them that are sent."""
        prefix = place.path + b"/" if place.path else b""
        try:
            with os.scandir(self._root + b"/" + place.path) as listing:
                entries = list(listing)
        except OSError as error:
            self._unreadable(place.path or b".", error)
            return
        own, git = place.own, place.git
        if place.mode != _WHOLE and not self._no_ignore:
            names = {entry.name for entry in entries}
            own = self._with_file(names, b".cloudrouterignore", prefix, own)
            git = self._with_file(names, b".gitignore", prefix, git)
        place = place._replace(own=own, git=git)
        for entry in entries:
            path = prefix + entry.name
            try:
                is_dir = entry.is_dir(follow_symlinks=False)
                mode = self._mode(entry.name, path, place, is_dir=is_dir)
                if mode is None:
                    self._leave(path, IGNORED)
                elif is_dir:
                    self.result.paths.append(path)
                    yield _Place(path, mode, own, git)
                else:
                    self._leaf(entry, path, mode)
            except FileNotFoundError:
                continue  # it vanished while we looked
            except OSError as error:
                self._unreadable(path, error)

    def _with_file(self, names: set[bytes], name: bytes, base: bytes, chain: tuple[Rules, ...]) -> tuple[Rules, ...]:
        rules = ignore.read_rules(self._root + b"/" + base + name, base) if name in names else None
        return (rules, *chain) if rules else chain

    def _mode(self, name: bytes, path: bytes, place: _Place, *, is_dir: bool) -> str | None:
        """How far an entry is sent, or None when it is ignored."""
        if place.mode == _WHOLE:
            return _WHOLE
        own = decide((self._exclude, *place.own), name, path, is_dir=is_dir)
        if own:
            return None
        if name == b".git":
            return self._git_mode(path, is_dir=is_dir)
        if own is False or path in self._tracked:
            return _ALL
        if place.mode == _ALL and not decide(place.git, name, path, is_dir=is_dir):
            return _ALL
        return _TRACKED_ONLY if is_dir and path in self._tracked_folders else None

    def _git_mode(self, path: bytes, *, is_dir: bool) -> str:
        if not is_dir:
            self.result.notes.append(
                f"{printable(path)} is not a folder (a linked work tree or a submodule): git in the machine will not "
                "find its repository."
            )
        elif self._holds_password(path + b"/config"):
            self.result.notes.append(f"{printable(path)}/config holds a password in a URL; it is sent with .git.")
        return _WHOLE

    def _holds_password(self, config: bytes) -> bool:
        try:
            return secrets.password_in_url(self._head(config))
        except OSError:
            return False  # missing, or unreadable and then reported by the walk

    def _leaf(self, entry: os.DirEntry[bytes], path: bytes, mode: str) -> None:
        """A file, a link or something special that nothing ignores."""
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(entry.path)
            if self._leads_out(path, target):
                self._leave(path, OUTSIDE, printable(target))
            else:
                self.result.paths.append(path)
        elif not stat.S_ISREG(found.st_mode):
            self._leave(path, SPECIAL)
        elif not os.access(entry.path, os.R_OK, effective_ids=_EFFECTIVE):
            self._leave_unreadable(path, "permission denied")
        else:
            secret = None if mode == _WHOLE or self._with_secrets else self._secret(path, found.st_size)
            if secret:
                self._leave(path, SECRET, secret)
                return
            self.result.paths.append(path)
            self.result.files += 1
            self.result.total_bytes += found.st_size

    def _secret(self, path: bytes, size: int) -> str | None:
        name, tracked = os.fsdecode(path), path in self._tracked
        head = self._head(path) if secrets.needs_head(name, size, tracked=tracked) else b""
        return secrets.secret_reason(name, head, tracked=tracked)

    def _head(self, path: bytes) -> bytes:
        fd = os.open(self._root + b"/" + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as handle:
            return handle.read(secrets.HEAD) or b""

    def _leads_out(self, path: bytes, target: bytes) -> bool:
        """Whether a link means something outside: absolute, or, with all links on the way followed, not below."""
        if target.startswith(b"/"):
            return True
        real = os.path.realpath(os.path.dirname(self._real_root + b"/" + path) + b"/" + target)
        return real != self._real_root and not real.startswith(self._real_root.rstrip(b"/") + b"/")

    def _leave(self, path: bytes, reason: str, detail: str = "") -> None:
        self.result.left_out.append(LeftOut(path, reason, detail))

    def _unreadable(self, path: bytes, error: OSError) -> None:
        self._leave_unreadable(path, (error.strerror or "unknown error").lower())

    def _leave_unreadable(self, path: bytes, why: str) -> None:
        self.result.unreadable.append(LeftOut(path, UNREADABLE, why))


def _parents(paths: Iterable[bytes]) -> set[bytes]:
    """Every folder on the way to one of the paths."""
    folders: set[bytes] = set()
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition(b"/")[0]
    return folders


def _rules_around(root: bytes, worktree: Worktree | None) -> tuple[Rules, ...]:
    """Git's rules from outside the folder, nearest first: of the folders above, info/exclude, the person's own."""
    if worktree is None:
        alone = ignore.read_rules(root + b"/.git/info/exclude", follow=True)
        return (alone,) if alone else ()
    above = b""
    found = []
    folder = root
    for _ in range(worktree.ups):
        folder, _, name = folder.rpartition(b"/")
        above = name + b"/" + above
        found.append(ignore.read_rules(folder + b"/.gitignore", above=above))
    found.extend(ignore.read_rules(file, above=above, follow=True) for file in worktree.exclude_files)
    return tuple(rules for rules in found if rules)
