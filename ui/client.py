"""Client: whom a request comes from, as far as an address can be trusted."""

from ipaddress import ip_address, ip_network
from typing import Any


def client(request: Any) -> str | None:
    """The public address that a request comes from: of IPv6, the /64 network, which one client has for itself.

    A proxy appends the address of whoever asked it to X-Forwarded-For, so behind one it is the last public address
    there. What stands before it may be made up.

    Args:
        request: Starlette's request.

    Returns:
        The address, or None if none can be trusted: private and loopback addresses may be a proxy's, for everybody.
    """
    peer = request.client.host if request.client else ""
    forwarded = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    for address in (peer, *reversed(forwarded)):
        try:
            found = ip_address(address)
        except ValueError:
            return None
        if found.is_global:
            return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))
    return None
