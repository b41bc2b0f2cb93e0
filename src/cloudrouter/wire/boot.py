"""What a machine is told at birth, as environment variables of its guest. Nothing in it opens anything."""

from __future__ import annotations

from dataclasses import dataclass

GUEST_PORT = 7070
USER = "user"
HOME = "/home/user"
WORKSPACE = "/home/user/workspace"
STATE_DIR = "/var/lib/cloudrouter"


@dataclass(frozen=True)
class GuestBoot:
    """Identity and key check of one machine's guest."""

    machine_id: str
    token_sha256: str
    """Hex SHA-256 of the token that the router presents on every stream."""
    port: int = GUEST_PORT

    def environment(self) -> dict[str, str]:
        """The variables that `cloudrouter.guest` reads at its start."""
        return {
            "CLOUDROUTER_MACHINE_ID": self.machine_id,
            "CLOUDROUTER_TOKEN_SHA256": self.token_sha256,
            "CLOUDROUTER_PORT": str(self.port),
        }
