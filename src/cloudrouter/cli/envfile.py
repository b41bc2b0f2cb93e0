"""Files of variables for `--env-file`; what they may hold is the SDK's business, too."""

from __future__ import annotations

from cloudrouter.client.envfile import parse, read_env_files

__all__ = ["parse", "read_env_files"]
