"""Addresses: the files of this page that a program may name by their URL in place of an upload's path.

Nothing is ever downloaded: a URL of this page stands for a file that is here already, and no other URL is read.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ui.uploads import store

FOLDER = Path(__file__).parent / "examples"
EXAMPLES = {f"/examples/{name}": FOLDER / name for name in ("astronaut.jpg", "drawn.mp4")}  # of the API page
FILE_MARK = "/gradio_api/file="


def requested_hosts(headers: dict[str, str]) -> list[str]:
    """The hosts, with their ports, that a request was sent to: its own, and those that proxies say it was sent to."""
    forwarded = [host.strip().lower() for host in headers.get("x-forwarded-host", "").split(",")]
    return [headers.get("host", "").lower(), *filter(None, forwarded)]


def own_path(address: str, headers: dict[str, str]) -> str:
    """The path of the file that a URL of this page names; any other text is returned as it is.

    An example is copied to the uploads, as if the client had uploaded it. The result still has to be checked: the URL
    may name any path.

    Args:
        address: A URL or a path, from the client.
        headers: The request's headers, in lower case: only the hosts that they name are this page's.

    Raises:
        StorageFull: There is no room for the copy of an example.
    """
    if not address.startswith(("http://", "https://")):
        return address
    try:
        url = urlsplit(address)
    except ValueError:  # such as an unfinished IPv6 address
        return address
    if url.netloc.lower() not in requested_hosts(headers):
        return address
    if FILE_MARK in url.path:
        return unquote(url.path.partition(FILE_MARK)[2])
    for name, file in EXAMPLES.items():
        if url.path.endswith(name):  # below the root path, if there is one
            return store(file.read_bytes(), file.name)
    return address
