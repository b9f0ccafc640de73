"""PersonCard: what the page shows of a person in a video: portrait, emotion, and timeline."""

from typing import NamedTuple

from deepfer.face import ranking
from deepfer.result import Person
from ui.emotions import emotion, unclear
from ui.jpeg import jpeg_uri
from ui.language import _, percent
from ui.timeline import Timeline, build_timeline

PORTRAIT_QUALITY = 85  # of a JPEG, which then has about 4 KB


class PersonCard(NamedTuple):
    """A card.

    Attributes:
        person: The person.
        timeline: Their emotions over the video.
        title: "happy most often", or "mixed: happy and sad" where no emotion stands out.
        shares: How much of the time they show that emotion, or those two.
        mixed: Whether no emotion stands out.
        portrait_uri: The face at its clearest moment, or None.
    """

    person: Person
    timeline: Timeline
    title: str
    shares: str
    mixed: bool
    portrait_uri: str | None

    @classmethod
    def of(cls, person: Person, duration_s: float) -> "PersonCard":
        """The card of a person in a video of `duration_s` seconds."""
        timeline = build_timeline(person, duration_s)
        portrait_uri = jpeg_uri(person.portrait, PORTRAIT_QUALITY) if person.portrait is not None else None
        if not person.unclear:
            share = percent(person.seconds[person.emotion] / person.seen_s)
            title = _("%(emotion)s most often", emotion=emotion(person.emotion))
            return cls(person, timeline, title, _("%(share)s of the time", share=share), False, portrait_uri)
        first, second = sorted(person.seconds, key=lambda label: -person.seconds[label])[:2]
        if not person.seconds[second]:  # the same emotion all the time, but never plainly
            return cls(person, timeline, unclear(*ranking(person.probabilities)[:2]), "", True, portrait_uri)
        shares = _(", ").join(
            f"{emotion(label)} {percent(person.seconds[label] / person.seen_s)}" for label in (first, second)
        )
        title = _("mixed: %(first)s and %(second)s", first=emotion(first), second=emotion(second))
        return cls(person, timeline, title, _("share of the time: %(shares)s", shares=shares), True, portrait_uri)
