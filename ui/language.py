"""Language: which one a visitor reads, and the page's messages in it.

The messages stand in English in the sources: `_("No face found")` in Python and templates, `t("Camera off")` in
JavaScript. `ui/languages/` has a catalogue of translations for each other language; `ui/catalogues.py` keeps them
complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from babel.core import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from deepfer.text import Message
from ui.limits import MAX_LANGUAGE_CHARS

Item = TypeVar("Item")

ENGLISH = "en"
# By the code that HTML and browsers use, with the name that its readers know.
LANGUAGES = {
    ENGLISH: "English",
    "de": "Deutsch",
    "es": "Español",
    "fr": "Français",
    "pt-BR": "Português",
    "hi": "हिन्दी",
    "ja": "日本語",
    "zh-CN": "简体中文",
}
FOLDER = Path(__file__).parent / "languages"
TRADITIONAL = {"hant", "tw", "hk", "mo"}  # Chinese whose readers would not choose the simplified script
RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")
NUMBER = re.compile(r"%\((\w+)\)([.\d]*[fg])")  # a placeholder for one that need not be whole

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)
_static: dict[str, Callable[[], str]] = {}


def chosen(asked: str | None, accepted: str | None) -> str:
    """The page's language for a request: a key of `LANGUAGES`.

    Args:
        asked: The language that the address names (`?lang=de`). It counts if it is a key of `LANGUAGES`.
        accepted: The header Accept-Language, which the client may have forged.
    """
    if asked in LANGUAGES:
        return str(asked)
    weights: dict[str, float] = {}
    for part in (accepted or "")[:MAX_LANGUAGE_CHARS].split(","):
        found = RANGE.fullmatch(part)
        language = found and _offered(found[1])
        if found and language:
            weights.setdefault(language, min(1.0, float(found[2] or 1)))
    best = max(weights, key=lambda language: weights[language], default=ENGLISH)
    return best if weights.get(best) else ENGLISH


def of_request(request: Any) -> str:
    """The language of a request, Starlette's or Gradio's; English without one, as in a test."""
    return chosen(request.query_params.get("lang"), request.headers.get("accept-language")) if request else ENGLISH


def spoken() -> str:
    """The language of the messages that are made now."""
    return _spoken.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Make messages in a language."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def steps_in(language: str, steps: Generator[Item]) -> Generator[Item]:
    """Run each step of a generator in a language. Gradio runs every step in another thread."""
    with closing(steps):
        while True:
            with speaking(language):
                try:
                    item = next(steps)
                except StopIteration:
                    return
            yield item


def translate(message: str) -> str:
    """A message in the spoken language, with its placeholders."""
    return _translations(spoken()).gettext(message) if message else ""  # gettext has a catalogue's header under ""


def translate_count(singular: str, plural: str, num: int) -> str:
    """A message about a number in the spoken language, with its placeholders."""
    return _translations(spoken()).ngettext(singular, plural, num)


def _(message: str, **values: Any) -> str:
    """A message in the spoken language; %(name)s in it stands for a value, %% for %."""
    return translate(message) % values


def N_(message: str) -> str:
    """Mark a message for the catalogues that is translated later."""
    return message


def ngettext(singular: str, plural: str, num: int, **values: Any) -> str:
    """A message about a number, %(num)s, in the spoken language."""
    return translate_count(singular, plural, num) % ({"num": num} | values)


def explain(error: Exception | str) -> str:
    """An expected error or a warning in the spoken language."""
    message = error.args[0] if isinstance(error, Exception) and error.args else error
    if not isinstance(message, Message):
        return str(error)
    translated = translate(message.template)
    if not message.values:
        return translated
    return NUMBER.sub(lambda found: _number(found, message.values), translated) % message.values


def _number(found: re.Match[str], values: dict[str, Any]) -> str:
    """A placeholder for a number that need not be whole, filled in as `decimal` writes it."""
    text = f"%{found[2]}" % values[found[1]]
    return decimal(float(text), len(text.partition(".")[2]))


def static(make: Callable[[], str]) -> str:
    """A text of the page as it is served at first: English here, exchanged by `in_language` for each visitor.

    Args:
        make: Makes it in the spoken language.
    """
    text = make()
    _static[text] = make
    return text


def label(message: str, **values: Any) -> str:
    """A `static` text that is just one message."""
    return static(lambda: _(message, **values))


def in_language(value: Any) -> Any:
    """A copy of JSON values with every `static` text in the spoken language; in English, the values themselves."""
    if spoken() == ENGLISH:
        return value
    if isinstance(value, str):
        return _made(value, spoken()) if value in _static else value
    if isinstance(value, dict):
        return {key: in_language(item) for key, item in value.items()}
    return [in_language(item) for item in value] if isinstance(value, list | tuple) else value


def script_messages() -> dict[str, str | list[str]]:
    """The messages of the scripts in the spoken language: English to its translation, or to the plural forms."""
    catalogue = _catalogue(spoken())
    return {} if catalogue is None else dict(_script_messages(catalogue))


def percent(share: float | None, digits: int = 0) -> str:
    """A share from 0 to 1 as "93%" or "93 %"; whole percentages are "<1%" and ">99%" unless 0% and 100% are exact."""
    value, language = 100 * (share or 0), spoken()
    if not digits and 0 < value < 0.5:
        return f"<{_percent(1, 0, language)}"
    if not digits and 99.5 <= value < 100:
        return f">{_percent(99, 0, language)}"
    return _percent(round(value, digits), digits, language)


def decimal(value: float, digits: int = 0) -> str:
    """A number in the spoken language's form: "3,350" or "8,4"."""
    return format_decimal(value, f"#,##0.{'0' * digits}" if digits else "#,##0", locale_of(spoken()))


@cache
def _translations(language: str) -> NullTranslations:
    catalogue = _catalogue(language)
    if catalogue is None:
        return NullTranslations()
    buffer = BytesIO()
    write_mo(buffer, catalogue)  # leaves out what is not translated yet
    buffer.seek(0)
    return GNUTranslations(buffer)


@cache
def _catalogue(language: str) -> Catalog | None:
    if language == ENGLISH:
        return None
    with (FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file, locale=locale_of(language))


def _script_messages(catalogue: Catalog) -> Iterator[tuple[str, str | list[str]]]:
    for message in catalogue:
        if any(file.endswith(".js") for file, _line in message.locations):
            if isinstance(message.id, str):
                yield message.id, str(message.string)
            else:
                yield message.id[0], [str(form) for form in message.string or ()]


@cache
def locale_of(language: str) -> Locale:
    """Babel's data on a language."""
    return Locale.parse(language, sep="-")


@cache
def _made(text: str, language: str) -> str:
    return _static[text]()


@cache  # 101 whole numbers and the model tab's figures
def _percent(value: float, digits: int, language: str) -> str:
    whole = locale_of(language).percent_formats[None].pattern
    return format_percent(
        value / 100, whole.replace("0", f"0.{'0' * digits}") if digits else whole, locale_of(language)
    )


def _offered(tag: str) -> str | None:
    """The language of the page for a language tag, or None: "de-AT" is de, "pt" and "pt-PT" are pt-BR."""
    primary, *rest = tag.lower().split("-")
    if primary == "zh" and TRADITIONAL & set(rest):
        return None
    return next((language for language in LANGUAGES if language.lower().split("-")[0] == primary), None)
