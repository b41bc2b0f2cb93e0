"""`python -m cloudrouter.cache`: started by the router, told everything on stdin."""

from __future__ import annotations

import sys

from cloudrouter.cache.process import main

if __name__ == "__main__":
    sys.exit(main())
