"""Components: the HTML that the tabs show, rendered from `ui/templates` with every value escaped.

It is made in the language that `ui.language` speaks.
"""

import base64
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deepfer.drawing import STYLES
from deepfer.face import CLEAR_CONFIDENCE, CLEAR_LEAD
from deepfer.result import Result, VideoResult
from ui.emotions import emotion, heading, verdict
from ui.language import _, decimal, explain, percent, translate, translate_count

DETECTORS = {"deepfer": "DeepFER", "yunet": "YuNet", "haar": "Haar cascade"}


class Download(NamedTuple):
    """A link that saves a file."""

    label: str
    filename: str
    uri: str

    @classmethod
    def of(cls, label: str, filename: str, media_type: str, text: str) -> "Download":
        """A link to a text that the page itself holds."""
        return cls(label, filename, data_uri(media_type, text.encode()))


def render(template: str, **values: Any) -> str:
    """Fill in a template of `ui/templates`."""
    return _TEMPLATES.get_template(template).render(values)


def data_uri(media_type: str, content: bytes) -> str:
    """A URI that holds the content itself, so that nothing has to be stored on disk."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def facts(result: Result | VideoResult) -> dict[str, str]:
    """The detector and the model behind a result, the latter with its commit on the Hub: "user/faces @ 0123abcd"."""
    commit = f" @ {result.revision[:8]}" if result.revision else ""
    return {_("Detector"): DETECTORS.get(result.detector, result.detector), _("Model"): result.model + commit}


def format_time(seconds: float) -> str:
    """A time as a person reads it: "8.4 s" or "2:05"."""
    if seconds < 59.95:
        return _("%(seconds)s s", seconds=decimal(seconds, 1))
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"


def format_clock(seconds: float) -> str:
    """A moment in a video as players show it: "0:08" or "1:02:05"."""
    whole = int(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02}"
    return minutes if whole < 3600 else f"{whole // 3600}:{minutes:0>5}"


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.i18n"],
)
_TEMPLATES.install_gettext_callables(translate, translate_count, newstyle=True)  # type: ignore[attr-defined]
_TEMPLATES.globals |= {"STYLES": STYLES, "CLEAR_CONFIDENCE": CLEAR_CONFIDENCE, "CLEAR_LEAD": CLEAR_LEAD}
_TEMPLATES.filters |= {"percent": percent, "decimal": decimal, "time": format_time, "clock": format_clock}
_TEMPLATES.filters |= {
    "emotion": emotion,
    "verdict": verdict,
    "heading": heading,
    "explain": explain,
    "translated": translate,
}
