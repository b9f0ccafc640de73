"""The video tab: a clip goes in; the annotated clip, a timeline for each person and the table come out."""

import itertools
import json
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData

from deepfer import LABELS, DeepFERError, EmotionRecognizer, VideoError, recognize_video
from deepfer.drawing import STYLES
from deepfer.limits import MAX_VIDEO_S
from deepfer.result import Person, VideoResult
from deepfer.text import format_percent
from deepfer.video import Progress
from deepfer.video_reader import LARGEST
from deepfer.video_writer import video_suffix
from ui.image_tab import DETECTORS, download_html
from ui.uploads import uploaded
from ui.usage import USAGE

EMPTY = (
    f'<p class="fer-note">Add a clip of up to {MAX_VIDEO_S / 60:.3g} minutes and {LARGEST}: everybody in it gets a '
    "number and a timeline here.</p>"
)
CANCELLED = '<p class="fer-note" role="status">Cancelled. Nothing of it is kept.</p>'
MOST_PEOPLE = 12  # that the page shows, who are seen longest; the table and the JSON have them all
MOST_STEPS = 240  # of a timeline: about as many as its pixels show
EMOJI_SHARE = 0.06  # of a timeline, from which a stretch of one emotion has room for its emoji


def video_tab(recognizer: EmotionRecognizer) -> None:
    """Add the tab to the `gr.Tabs` around it, and the endpoint `/recognize_video`."""

    def run(clip: dict[str, Any]) -> Iterator[tuple[Progress, Path, Path]]:
        """Each report, and where annotated clip and table are: from the last report on until the next is asked for."""
        path = uploaded(clip)
        USAGE.add()  # no clip is begun where there is no room; what it writes is measured
        with tempfile.TemporaryDirectory(prefix="clip-") as folder:
            video, table = Path(folder, f"{path.stem[:80]}-faces{video_suffix()}"), Path(folder, "timeline.csv")
            try:
                for progress in recognize_video(recognizer, path, video=video, table=table):
                    yield progress, video, table
            except VideoError as error:
                raise VideoError(str(error).replace(str(path), path.name)) from error

    def show(clip: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
        """What the page shows for a clip: the annotated clip, how far it is or what was found, people, and table."""
        no_table = gr.update(value=None, visible=False)
        if clip is None:
            yield None, EMPTY, "", no_table
            return
        yield None, progress_html(Progress(0, None)), "", no_table
        try:
            for progress, video, table in run(clip):
                result = progress.result
                if result is None:
                    yield None, progress_html(progress), gr.skip(), gr.skip()
                    continue
                download = gr.update(value=str(table), visible=True)
                yield str(video), overview_html(result, clip_name(clip)), people_html(result), download
        except DeepFERError as error:
            yield None, error_html(str(error)), "", no_table

    def recognize_clip(clip: dict[str, Any] | None) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
        """Follow every face through a clip and tell its emotions.

        Takes MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV or Ogg, by default up to ten minutes and 1080p. Answers with the
        annotated clip; timeline.csv, a row for each frame and face with time_s, track_id, box, emotion, confidence and
        the probabilities of the seven emotions; and an object: width, height, model, revision, detector, duration_s,
        fps, frames, and people, each with track_id, first_s, last_s, seen_s, their usual emotion, the seconds of each
        of the seven, and their mean probabilities. Until then the object tells done_s, total_s and left_s.

        Args:
            clip: The video file.

        Returns:
            The annotated clip.
            The table.
            The object.
        """
        if clip is None:
            raise gr.Error("Send the clip as a file.", print_exception=False)
        try:
            for progress, video, table in run(clip):
                if progress.result is None:
                    told = {"done_s": progress.done_s, "total_s": progress.total_s, "left_s": progress.left_s}
                    yield None, None, told
                    continue
                found = progress.result.to_dict()
                del found["path"]  # gradio_client takes any object with a "path" for a file to fetch
                yield str(video), str(table), found
        except DeepFERError as error:
            raise gr.Error(str(error), print_exception=False) from error

    with gr.Tab("Video", id="video"):
        with gr.Row(equal_height=True):
            with gr.Column():
                source = gr.Video(
                    label="Your clip",
                    sources=["upload", "webcam"],
                    height="var(--fer-picture-height)",
                    elem_id="clip",
                )
            with gr.Column():
                output = gr.Video(
                    label="Faces found",
                    height="var(--fer-picture-height)",
                    interactive=False,
                    buttons=["download"],
                    elem_id="annotated-clip",
                )
        # It is shown as it is: gr.Video's own way has ffprobe look at it, and fails where there is ffmpeg without it.
        # Handlers give this one no gr.update or gr.skip, which would make another gr.Video of it.
        output.postprocess = lambda value: None if value is None else FileData(path=value)
        overview = gr.HTML(EMPTY, apply_default_css=False, elem_id="clip-overview")
        cancel = gr.Button("Cancel", elem_id="clip-cancel")  # style.css shows it while there is progress
        table = gr.DownloadButton("Every frame and face: timeline.csv", visible=False, elem_id="clip-table")
        people = gr.HTML(apply_default_css=False, elem_id="people")
        file = gr.File(visible=False, label="Table")  # the endpoint's second and third answers
        answer = gr.JSON(visible=False, label="People")

        # Without `preprocess`, which would run ffmpeg on whatever file is named. One clip at a time, and the rest wait
        # in line: one alone takes two cores, and pictures and cameras must not wait for it.
        options: dict[str, Any] = {"preprocess": False, "concurrency_limit": 1, "concurrency_id": "clip"}
        outputs = [output, overview, people, table]
        running = source.change(
            show,
            source,
            outputs,
            show_progress="minimal",
            show_progress_on=overview,
            api_visibility="private",
            **options,
        )
        # Said in a step of its own: what an event that cancels gives can be overwritten by a last report on its way.
        source.clear(None, cancels=running, api_visibility="private")
        cancel.click(None, cancels=running, api_visibility="private").then(
            lambda: (None, CANCELLED, "", gr.update(visible=False)),
            outputs=outputs,
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )
        gr.on([], recognize_clip, source, [output, file, answer], api_name="recognize_video", **options)


def clip_name(clip: dict[str, Any]) -> str:
    """What the visitor calls the file."""
    return clip.get("orig_name") or Path(clip["path"]).name


def seconds_text(seconds: float) -> str:
    """A time as a person reads it: "8.4 s", "2:05"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"


def error_html(message: str) -> str:
    """Why a clip was not read."""
    return (
        '<div class="fer-note fer-error" role="alert"><h2>This clip could not be read</h2>'
        f"<p>{escape(message)}</p></div>"
    )


def progress_html(progress: Progress) -> str:
    """A bar, what is done, and how long it still takes."""
    bar, told = "", f"{seconds_text(progress.done_s)} done"
    if progress.total_s:
        done = min(1.0, progress.done_s / progress.total_s)
        bar = (
            f'<div class="fer-track" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{100 * done:.0f}" aria-label="Progress"><span style="--p: {done:.4f}"></span></div>'
        )
        told = f"{100 * done:.0f} %: {seconds_text(progress.done_s)} of {seconds_text(progress.total_s)}"
    if progress.left_s is not None:
        told += f", about {max(1, round(progress.left_s))} s left"
    return f'<div class="fer-note fer-progress"><h2>Looking for faces</h2>{bar}<p>{told}</p></div>'


def overview_html(result: VideoResult, name: str) -> str:
    """How many people, by what, and what is amiss."""
    count = len(result.people)
    facts = {
        "Detector": DETECTORS.get(result.detector, result.detector),
        "Model": f"{result.model}{f' @ {result.revision[:8]}' if result.revision else ''}",
        "Clip": f"{result.width} \N{MULTIPLICATION SIGN} {result.height}, {seconds_text(result.duration_s)}",
    }
    meta = "".join(f"<div><dt>{term}</dt><dd>{escape(fact)}</dd></div>" for term, fact in facts.items())
    told = json.dumps(result.to_dict() | {"path": name}, indent=2)
    download = download_html("JSON", f"{Path(name).stem}.json", "application/json", told)
    heading = f"{count} {'person' if count == 1 else 'people'}" if count else "No face found"
    amiss = f'<p class="fer-amiss">{escape(result.warning)}.</p>' if result.warning else ""
    more = ""
    if count > MOST_PEOPLE:
        more = f"<p>Shown are the {MOST_PEOPLE} who are seen longest; the JSON and the table have everybody.</p>"
    return (
        f'<section class="fer-overview" role="status"><div class="fer-bar"><h2>{heading}</h2><dl>{meta}</dl>'
        f'<div class="fer-downloads">{download}</div></div>{amiss}{more}</section>'
    )


def people_html(result: VideoResult) -> str:
    """A card for each person, in the order in which they appear."""
    longest = sorted(result.people, key=lambda person: -person.seen_s)[:MOST_PEOPLE]
    cards = "".join(person_html(person, result.duration_s) for person in result.people if person in longest)
    return f'<ol class="fer-people">{cards}</ol>' if cards else ""


def person_html(person: Person, duration_s: float) -> str:
    """One person: their usual emotion, their timeline, and how long each emotion was shown."""
    emotion = person.emotion
    usual = format_percent(person.seconds[emotion] / person.seen_s)
    seen = f"seen {seconds_text(person.seen_s)}, {seconds_text(person.first_s)} to {seconds_text(person.last_s)}"
    rows = "".join(
        f'<tr class="{"fer-top" if label == emotion else ""}"><th scope="row">{label}</th><td class="fer-track">'
        f'<span style="--p: {seconds / person.seen_s:.4f}; --c: {STYLES[label].hex}"></span></td>'
        f"<td>{seconds_text(seconds)}</td></tr>"
        for label, seconds in person.seconds.items()
    )
    return (
        f'<li class="fer-card fer-person" style="--c: {STYLES[emotion].hex}"><div class="fer-face"><div>'
        f'<h3><span class="fer-emoji" aria-hidden="true">{STYLES[emotion].emoji}</span> #{person.track_id} '
        f"mostly {emotion}</h3><p>{usual} of the time · {seen}</p></div></div>"
        f"{timeline_html(person, duration_s)}"
        f'<table aria-label="How long person {person.track_id} showed each emotion"><tbody>{rows}</tbody></table></li>'
    )


def timeline_html(person: Person, duration_s: float) -> str:
    """The seven probabilities stacked over the clip's time, and below it a strip of the emotion shown."""
    width = max(1, round(len(person.timeline) / MOST_STEPS))  # steps that are drawn as one
    starts = range(0, len(person.timeline), width)
    step_s = person.bin_s * width
    places = [min(1.0, (person.timeline_s + i * person.bin_s) / duration_s) for i in starts]
    ends = [*places[1:], min(1.0, (person.timeline_s + len(person.timeline) * person.bin_s) / duration_s)]
    seen = [part[~np.isnan(part[:, 0])] for part in (person.timeline[i : i + width] for i in starts)]
    means = [part.mean(axis=0) if len(part) else None for part in seen]
    shown = [None if mean is None else int(mean.argmax()) for mean in means]

    areas, strip, i = "", "", 0
    for there, stretch in itertools.groupby(means, key=lambda mean: mean is not None):
        values = list(stretch)
        if there:
            areas += area_svg(np.array(values), places[i : i + len(values)], ends[i + len(values) - 1])
        i += len(values)
    i = 0
    for label, stretch in itertools.groupby(shown):
        count = len(list(stretch))
        if label is not None:
            strip += stretch_html(LABELS[label], places[i], ends[i + count - 1], duration_s)
        i += count
    axis = "".join(f"<span>{seconds_text(share * duration_s)}</span>" for share in (0, 0.5, 1))
    return (
        f'<figure class="fer-timeline"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Probabilities of person {person.track_id} in steps of {step_s:.1f} s">{areas}</svg>'
        f'<div class="fer-strip">{strip}</div><figcaption aria-hidden="true">{axis}</figcaption></figure>'
    )


def area_svg(values: np.ndarray, places: list[float], end: float) -> str:
    """Seven stacked areas of one stretch: probabilities (N, 7) at places from 0 to 1."""
    xs = [1000 * x for x in (*places, end)]
    tops = np.vstack([np.zeros(len(xs)), np.cumsum(np.vstack([values, values[-1:]]), axis=1).T])  # (8, N + 1)
    areas = ""
    for label, low, high in zip(LABELS, tops, tops[1:], strict=False):
        if (high - low).max() < 0.005:
            continue
        up = [f"{x:.1f},{100 - 100 * y:.1f}" for x, y in zip(xs, high, strict=True)]
        down = [f"{x:.1f},{100 - 100 * y:.1f}" for x, y in zip(xs[::-1], low[::-1], strict=True)]
        areas += f'<polygon fill="{STYLES[label].hex}" points="{" ".join(up + down)}"><title>{label}</title></polygon>'
    return areas


def stretch_html(label: str, start: float, end: float, duration_s: float) -> str:
    """One stretch of the strip: an emotion's colour and, where there is room, its emoji."""
    emoji = STYLES[label].emoji if end - start >= EMOJI_SHARE else ""
    told = f"{label}, {seconds_text(start * duration_s)} to {seconds_text(end * duration_s)}"
    return (
        f'<span class="fer-emoji" style="left: {100 * start:.2f}%; width: {100 * (end - start):.2f}%; '
        f'--c: {STYLES[label].hex}" title="{told}">{emoji}</span>'
    )
