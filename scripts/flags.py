"""Proves that no flag is parsed and ignored: with each flag dropped in turn, a test that gives it must fail.

The unit tests of the command line run once and tell which test gives which flag. Then, for every flag, the tests that
give it run again while the parser forgets the flag's value. A flag that nobody misses is a flag that may be ignored.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TESTS = "tests/unit/cli"
AT_MOST = 6
"""Tests of one flag that are tried before it counts as unnoticed."""
QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:unraisableexception", "--no-header")


def record(path: str) -> None:
    """Run the tests and write which of those that pass give which flag."""
    from tests.flags.plugin import Recorder

    recorder = Recorder()
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*QUIET, TESTS, f"--basetemp={path}.tests"], plugins=[recorder])
    recorder.write(Path(path))


def is_noticed(job: tuple[str, list[str]]) -> tuple[str, str]:
    """The flag, and the test that fails when it is ignored; empty when none does."""
    from tests.flags.plugin import Ignorer

    flag, tests = job
    for test in tests[:AT_MOST]:
        ignorer = Ignorer(flag)
        with (
            tempfile.TemporaryDirectory() as folder,  # of its own: pytest's would be cleaned up by the neighbours
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            pytest.main([*QUIET, test, f"--basetemp={folder}/tests"], plugins=[ignorer])
        if ignorer.noticed:
            return flag, ignorer.noticed[0]
    return flag, ""


def in_peace(pool: Pool, work: Callable[[Pool], Any]) -> Any:
    """What the work in the pool comes to; its workers end by themselves, for tests change what TERM does in them."""
    result = work(pool)
    pool.close()
    pool.join()
    return result


def main() -> int:
    """Print the flags nobody misses and those nobody gives; 1 when there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORD", default="", help="flags that hold this word")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the test that misses each flag")
    args = parser.parse_args()
    os.chdir(ROOT)
    from tests.flags.plugin import every_flag

    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/seen.json"
        in_peace(spawn.Pool(1), lambda pool: pool.apply(record, (path,)))
        seen: dict[str, list[str]] = json.loads(Path(path).read_text())
    flags = sorted(flag for flag in every_flag() if args.only in flag)
    jobs = [(flag, seen.get(flag, [])) for flag in flags]
    workers = spawn.Pool(os.cpu_count(), maxtasksperchild=20)
    outcome = in_peace(workers, lambda pool: dict(pool.imap_unordered(is_noticed, jobs)))
    return report(flags, seen, outcome, verbose=args.verbose)


def report(flags: list[str], seen: dict[str, list[str]], outcome: dict[str, str], *, verbose: bool) -> int:
    """Tell what was found."""
    missing = [flag for flag in flags if not outcome[flag]]
    if verbose:
        for flag in flags:
            print(f"{flag:<36} {outcome[flag] or '-'}")
    for flag in missing:
        fault = "no test gives it" if not seen.get(flag) else f"ignored unnoticed ({len(seen[flag])} tests give it)"
        print(f"flags: {flag}: {fault}")
    print(f"flags: {len(flags) - len(missing)} of {len(flags)} flags are missed by a test when ignored")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
