"""`/v1/ssh` and `/v1/machines/{ref}/ssh`: the SSH authority and its certificates."""

from __future__ import annotations

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import JSONBody

from cloudrouter.server.api.machines import strict_body
from cloudrouter.server.api.state import Asked, Owner, Ref
from cloudrouter.wire import routes
from cloudrouter.wire.ssh import CertifyKey, SshAuthority, SshCertificate

OF_MACHINE = f"{routes.MACHINES}/{{ref:str}}/ssh"


@post(f"{OF_MACHINE}/certificate", summary="Certify an SSH key for a machine", status_code=200)
async def certify_key(
    request: Request[Any, Any, Any], services: Asked, owner: Owner, ref: Ref, data: JSONBody[CertifyKey]
) -> SshCertificate:
    """A user certificate for this machine alone, good for 10 minutes; the private key stays with who asks."""
    wanted = await strict_body(request, CertifyKey)
    return services.ssh.certify(owner, ref, wanted.public_key)


@delete(f"{OF_MACHINE}/host-key", summary="Forget a machine's SSH host key", status_code=200)
async def forget_host_key(services: Asked, owner: Owner, ref: Ref) -> dict[str, bool]:
    """The key that it shows next is taken for its own; `forgotten` says whether another was known."""
    return {"forgotten": services.ssh.forget(owner, ref)}


@get(routes.SSH_AUTHORITY, summary="Show the SSH authority")
async def show_ssh_authority(services: Asked) -> SshAuthority:
    """Its public key; made when there is none."""
    return services.ssh.authority()


@post(f"{routes.SSH_AUTHORITY}/rotate", summary="Replace the SSH authority", status_code=200)
async def rotate_ssh_authority(services: Asked) -> SshAuthority:
    """Another key: certificates of the old one are refused from now on."""
    return services.ssh.rotate()


HANDLERS = [certify_key, forget_host_key, show_ssh_authority, rotate_ssh_authority]
