"""Catalogues: collect the page's messages from the sources into `ui/languages`: python -m ui.catalogues."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from ui.language import ENGLISH, FOLDER, LANGUAGES, locale_of

ROOT = Path(__file__).parents[1]
TRANSLATED = [language for language in LANGUAGES if language != ENGLISH]
# The functions that take a message; for plurals, the places of its two forms.
PYTHON: dict[str, Any] = {
    **dict.fromkeys(("_", "N_", "label", "Message", "ImageError", "VideoError", "StorageFull", "LineFull")),
    "ngettext": (1, 2),
}
SCRIPTS: dict[str, Any] = {"t": None, "plural": (2, 3)}
SOURCES = (
    ("app.py", "python", PYTHON),
    ("deepfer/*.py", "python", PYTHON),
    ("ui/*.py", "python", PYTHON),
    ("ui/templates/*.html", "jinja2.ext:babel_extract", PYTHON),
    ("ui/*/*.js", "javascript", SCRIPTS),
)
OPTIONS = {"parse_template_string": True}  # `${t("…")}` in JavaScript
WIDTH = 120
HEADER = r"""# Translations of the page. Written by people; python -m ui.catalogues adds and removes messages.
msgid ""
msgstr ""
"Language: {language}\n"
"Plural-Forms: {plural_forms}\n"
"Content-Type: text/plain; charset=utf-8\n"

"""


def collect() -> Catalog:
    """All messages, each with the files that have it."""
    catalogue = Catalog()
    for pattern, method, keywords in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            place = path.relative_to(ROOT).as_posix()
            for line, message, _comments, _context in extract_from_file(method, path, keywords, options=OPTIONS):
                catalogue.add(message, None, [(place, line)])
    return catalogue


def read(language: str) -> Catalog:
    """The catalogue of a language; empty for a new one."""
    path = FOLDER / f"{language}.po"
    if not path.exists():
        return Catalog(locale=locale_of(language))
    with path.open("rb") as file:
        return read_po(file, locale=locale_of(language))


def messages(catalogue: Catalog) -> Iterator[Message]:
    """A catalogue's messages without its header."""
    return (message for message in catalogue if message.id)


def forms(message: Message) -> tuple[str, ...]:
    """A message's translation in each plural form, of which most messages have one; "" where it is missing."""
    return (message.string or "",) if isinstance(message.string, str | None) else tuple(message.string)


def write(language: str, catalogue: Catalog) -> None:
    """Write a catalogue in the same order and form each time, so that a change shows what was changed."""
    options = {"omit_header": True, "ignore_obsolete": True, "include_lineno": False, "sort_output": True}
    with (FOLDER / f"{language}.po").open("wb") as file:
        file.write(HEADER.format(language=language, plural_forms=catalogue.plural_forms).encode())
        write_po(file, catalogue, width=WIDTH, **options)


def main() -> None:
    """Bring every catalogue up to date: new messages are empty, those that no source has are gone."""
    template = collect()
    for language in TRANSLATED:
        catalogue = read(language)
        catalogue.update(template, no_fuzzy_matching=True)
        write(language, catalogue)
        missing = sum(not all(forms(message)) for message in messages(catalogue))
        print(f"{language}: {missing} of {len(catalogue)} messages are to be translated")


if __name__ == "__main__":
    main()
