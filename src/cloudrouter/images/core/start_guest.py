"""What `python3 /opt/cloudrouter/lib` runs: the guest, with this folder as its only place for modules."""

from __future__ import annotations

import runpy

runpy.run_module("cloudrouter.guest", run_name="__main__", alter_sys=True)
