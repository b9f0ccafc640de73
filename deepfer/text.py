"""Text for messages and results: file names, errors and probabilities on one line."""

from pathlib import Path


class Message(str):
    """An English message that remembers what it was made of, so that the page can translate it.

    Attributes:
        template: The message, with a %(name)s for each value.
        values: The values.
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> "Message":
        """Fill in the template; without values, it is taken as it is."""
        message = super().__new__(cls, template % values if values else template)
        message.template, message.values = template, values
        return message


def printable(name: str | Path) -> str:
    """A file name as one line: unchanged, or quoted and escaped if it contains control characters."""
    return str(name) if str(name).isprintable() else ascii(str(name))


def first_line(error: BaseException) -> str:
    """The first non-blank line of an error's message, or the error's type if the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def format_percent(share: float | None) -> str:
    """A share or probability from 0 to 1 as "93%"; only exactly 0 and 1 become "0%" and "100%"."""
    value = 100 * (share or 0)
    if 0 < value < 0.5:
        return "<1%"
    return ">99%" if 99.5 <= value < 100 else f"{value:.0f}%"
