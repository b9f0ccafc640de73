"""The fingerprint of a source: it changes with the inputs."""

import hashlib
import json
from collections.abc import Iterable


def fingerprint(kind: str, parts: Iterable[object]) -> str:
    """The sha256 of a source's kind and of what distinguishes its inputs."""
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()
