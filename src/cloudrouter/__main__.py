"""The commands `cloudrouter` and `cr`; `--version` is answered before anything else is imported."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line in sys.argv; the process ends with its exit status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from cloudrouter import __version__

        sys.stdout.write(f"cloudrouter {__version__}\n")
        return 0
    from cloudrouter.cli.main import run_process

    return run_process(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
