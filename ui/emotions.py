"""Emotions: what the page calls them. Files and endpoints have the English labels of `deepfer.LABELS`."""

from deepfer import Face
from ui.language import _


def emotion(label: str) -> str:
    """An emotion's name in the spoken language. The catalogues have these from `ui/webcam/label.js`."""
    return _(label)


def verdict(face: Face) -> str:
    """A face's emotion, or the two that it may be: "happy", or "unclear: neutral or angry?"."""
    if not face.unclear:
        return emotion(face.emotion or "")
    return unclear(face.emotion or "", face.runner_up or "")


def heading(face: Face) -> str:
    """The verdict as a heading: a question begins with a capital."""
    text = verdict(face)
    return text[:1].upper() + text[1:] if face.unclear else text


def unclear(first: str, second: str) -> str:
    """The two emotions that a face may show."""
    return _("unclear: %(first)s or %(second)s?", first=emotion(first), second=emotion(second))
