"""Client: the address that a request comes from, as far as it can be trusted."""

from ipaddress import ip_address, ip_network
from typing import Any


def client_address(request: Any) -> str | None:
    """The public address that a request comes from; for IPv6 the /64 network, which usually belongs to one client.

    Each proxy appends the address of its client to X-Forwarded-For. So behind a proxy, the client is the last public
    address there; anything before it may be forged.

    Args:
        request: Starlette's request.

    Returns:
        The address, or None if none can be trusted: a private or loopback address may be a proxy's.
    """
    peer = request.client.host if request.client else ""
    forwarded = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    for text in (peer, *reversed(forwarded)):
        try:
            address = ip_address(text)
        except ValueError:
            return None
        if address.is_global:
            return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))
    return None
