"""A lock on an open file, which keeps other processes out until the file is closed, however the process ends."""

import errno
import sys
from typing import BinaryIO

# On Windows, no other process can read a locked byte, so this one is beyond any content.
LOCKED_AT = 2**31 - 2


def try_lock(file: BinaryIO) -> bool:
    """Lock a file. Always succeeds on file systems without locks.

    Returns:
        Whether it is locked; False if another process holds the lock.

    Raises:
        OSError: It cannot be locked for another reason.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(LOCKED_AT)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return True
