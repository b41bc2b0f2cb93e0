"""`python -m cloudrouter.guest`: the guest's only entry."""

from __future__ import annotations

import sys

# The guest speaks plain WebSockets; without this asyncio loads OpenSSL, which costs every machine 5 MB.
sys.modules["ssl"] = None  # type: ignore[assignment]

from cloudrouter.guest.server import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
