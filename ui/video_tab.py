"""The video tab: a video goes in; the annotated video, a timeline for each person and a table come out.

The browser's part is in `ui/video/`: it lets the timelines seek, and keeps quiet about previews that cannot be played.
"""

import json
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import FileData

from deepfer import DeepFERError, EmotionRecognizer, VideoError, recognize_video
from deepfer.limits import MAX_VIDEO_S
from deepfer.result import VideoResult
from deepfer.video import Progress
from deepfer.video_writer import video_suffix
from ui.api_page import set_example
from ui.components import Download, facts, format_time, render
from ui.language import _, decimal, explain, label, of_request, speaking, static, steps_in
from ui.limits import MAX_UPLOAD_BYTES, MAX_VIDEO_LINE
from ui.line import POLL_S, Line, Place
from ui.person_card import PersonCard
from ui.scripts import bundle
from ui.timeline import ticks
from ui.uploads import borrow, delete, named, uploaded_path
from ui.usage import USAGE

EXAMPLES = Path(__file__).parent / "examples"
SCRIPTS = Path(__file__).parent / "video"
FOCUS = '() => document.querySelector("#clip-alert").dispatchEvent(new Event("focus-chooser", { bubbles: true }))'
MAX_PEOPLE = 12  # shown on the page, longest on screen first; the table and the JSON have everyone


def video_tab(recognizer: EmotionRecognizer) -> None:
    """Add the tab to the surrounding `gr.Tabs`, and the endpoint `/recognize_video`."""
    handlers = _Handlers(recognizer)
    with gr.Tab(label("Video"), id="video"):
        with gr.Row(equal_height=True):
            with gr.Column():
                video = gr.Video(
                    label=label("Your video"),
                    sources=["upload", "webcam"],
                    height="var(--fer-picture-height)",
                    elem_id="clip",
                )
            with gr.Column():
                output = gr.Video(
                    label=label("Annotated video"),
                    height="var(--fer-picture-height)",
                    interactive=False,
                    buttons=["download"],
                    elem_id="annotated-clip",
                )
        # Pass files on as they are: gr.Video would run ffprobe on them, and fail without one. Handlers must not return
        # gr.update or gr.skip for these components, which would replace them by an ordinary gr.Video.
        video.postprocess = output.postprocess = lambda value: None if value is None else FileData(path=value)
        set_example(video, "/examples/drawn.mp4")
        files = sorted(EXAMPLES.glob("*.mp4"))
        chooser = gr.Examples(
            list(map(str, files)),
            video,
            label=label("Examples"),
            cache_examples=False,
            api_visibility="private",
            elem_id="clip-examples",
        )
        del chooser.input_component_props[0]["label"]  # choosing an example would bring back the English one
        gr.HTML(
            static(lambda: render("video_alert.html")),
            js_on_load=bundle(SCRIPTS.glob("*.js"), "new VideoTab({ element, props });"),
            examples=[label("Example: drawn")],
            apply_default_css=False,
            elem_id="clip-alert",
        )
        overview = gr.HTML(static(empty_html), apply_default_css=False, elem_id="clip-overview")
        cancel = gr.Button(label("Cancel"), elem_id="clip-cancel")  # video.css shows it during progress
        table = gr.DownloadButton(label("All faces in all frames (CSV)"), visible=False, elem_id="clip-table")
        people = gr.HTML(apply_default_css=False, elem_id="people")
        file = gr.File(visible=False, label="Table")  # the endpoint's second and third results
        details = gr.JSON(visible=False, label="People")

        # No `preprocess`, which would run ffmpeg on the file. All videos start at once for Gradio, and then wait in our
        # line: one video takes two cores, and images and webcams must not wait for it. The few more that Gradio lets in
        # learn at once that the line is full.
        options: dict[str, Any] = {
            "preprocess": False,
            "concurrency_limit": MAX_VIDEO_LINE + 4,
            "concurrency_id": "clip",
        }
        running = video.change(
            handlers.show,
            video,
            [output, overview, people, table],
            show_progress="hidden",  # the overview shows it
            api_visibility="private",
            **options,
        )
        # The message comes in a step of its own: a late progress report can overwrite what a cancelling event returns.
        video.clear(None, cancels=running, api_visibility="private").then(
            handlers.empty, outputs=overview, show_progress="hidden", queue=False, api_visibility="private"
        )
        cancel.click(None, cancels=running, api_visibility="private").then(
            handlers.cancel,
            video,
            [video, output, overview, people, table],
            preprocess=False,
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        ).then(None, js=FOCUS, api_visibility="private")
        gr.on([], handlers.recognize_video, video, [output, file, details], api_name="recognize_video", **options)


class Waiting(NamedTuple):
    """The place of a video in the line; `ahead` is the number of videos before it."""

    ahead: int


class _Handlers:
    """The functions behind the tab's events."""

    def __init__(self, recognizer: EmotionRecognizer) -> None:
        self._recognizer = recognizer
        self._line = Line(MAX_VIDEO_LINE)

    def _run(self, upload: dict[str, Any]) -> Iterator[tuple[Waiting | Progress, Path, Path]]:
        """Yield the place in the line, then each report of progress, with the paths of the annotated video and table.

        With the last report the files exist, until the next item is asked for.
        """
        path = uploaded_path(upload)
        USAGE.add()  # start only if there is room; what is written is measured later
        with self._line.place() as place, tempfile.TemporaryDirectory(prefix="clip-") as folder:
            video = borrow(path, Path(folder))
            annotated, table = Path(folder, f"{path.stem[:80]}-faces{video_suffix()}"), Path(folder, "timeline.csv")
            for waiting in _wait(place):
                yield waiting, annotated, table
            if not video.exists():  # after a long wait
                raise VideoError(
                    "This video is no longer on the server, which deletes uploads after a while. Upload it again."
                )
            try:
                for progress in recognize_video(self._recognizer, video, video=annotated, table=table):
                    place.ahead()  # keeps the place
                    yield progress, annotated, table
            except VideoError as error:
                raise named(error, path) from error

    def empty(self, request: gr.Request) -> str:
        """Return what the page shows before there is a video."""
        with speaking(of_request(request)):
            return empty_html()

    def show(self, upload: dict[str, Any] | None, request: gr.Request | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield what the page shows for a video, in its visitor's language."""
        yield from steps_in(of_request(request), self._show(upload))

    def _show(self, upload: dict[str, Any] | None) -> Generator[tuple[Any, ...]]:
        """Yield what the page shows for a video: the annotated video, progress or overview, the people, the table."""
        no_table = gr.update(value=None, visible=False)
        if upload is None:  # the overview then says why
            yield None, gr.skip(), "", no_table
            return
        yield None, progress_html(Progress(0, None)), "", no_table
        try:
            for state, annotated, table in self._run(upload):
                result = state.result if isinstance(state, Progress) else None
                if result is None:
                    yield None, state_html(state), gr.skip(), gr.skip()
                    continue
                name = upload.get("orig_name") or Path(upload["path"]).name
                download = gr.update(value=str(table), visible=True)
                yield str(annotated), overview_html(result, name), people_html(result), download
        except DeepFERError as error:
            message = render("error.html", title=_("This video could not be processed"), message=explain(error))
            yield None, message, "", no_table

    def cancel(self, upload: dict[str, Any] | None, request: gr.Request | None = None) -> tuple[Any, ...]:
        """Delete the video that was sent; return what the page shows then, and None as the chosen video."""
        with speaking(of_request(request)):
            message = render("video_cancelled.html", deleted=upload is not None and delete(upload))
        return None, None, message, "", gr.update(visible=False)

    def recognize_video(self, clip: dict[str, Any] | None) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
        """Follow every face through a video and estimate the emotions that it shows.

        Takes MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV or Ogg, by default up to ten minutes. Returns the
        annotated video; timeline.csv, a row for each frame and face with time_s, track_id, box, emotion, confidence and
        the probabilities of the seven emotions; and an object: width, height, model, revision, detector, duration_s,
        fps, frames, and people, each with track_id, first_s, last_s, seen_s, their most frequent emotion, the seconds
        of each of the seven, and their mean probabilities. While the video is processed, the object holds done_s,
        total_s and left_s. While it waits, the object holds ahead, the number of videos before it.

        Args:
            clip: The video file.

        Returns:
            The annotated video.
            The table.
            The object.
        """
        if clip is None:
            raise gr.Error("Send the video as a file.", print_exception=False)
        try:
            for state, annotated, table in self._run(clip):
                if isinstance(state, Waiting):
                    yield None, None, {"ahead": state.ahead}
                    continue
                if state.result is None:
                    yield None, None, {"done_s": state.done_s, "total_s": state.total_s, "left_s": state.left_s}
                    continue
                result = state.result.to_dict()
                del result["path"]  # gradio_client would try to fetch any object with a "path" as a file
                yield str(annotated), str(table), result
        except DeepFERError as error:
            raise gr.Error(str(error), print_exception=False) from error


def empty_html() -> str:
    """What the page shows before there is a video."""
    minutes = MAX_VIDEO_S / 60
    text = _(
        "Add a video of up to %(minutes)s minutes and %(size)s MB. Each face will get a number and a timeline here.",
        minutes=decimal(minutes, 0 if minutes.is_integer() else 1),
        size=decimal(MAX_UPLOAD_BYTES / 1e6),
    )
    return render("note.html", text=text)


def _wait(place: Place) -> Iterator[Waiting]:
    """Yield the place about twice per second until it is the first one."""
    wait_s = 0.0
    while ahead := place.ahead(wait_s):
        yield Waiting(ahead)
        wait_s = POLL_S


def state_html(state: Waiting | Progress) -> str:
    """The place in the line, or the progress."""
    return render("video_waiting.html", ahead=state.ahead) if isinstance(state, Waiting) else progress_html(state)


def progress_html(progress: Progress) -> str:
    """A bar, how much is done, and how long the rest will take."""
    share = min(1.0, progress.done_s / progress.total_s) if progress.total_s else None
    return render("video_progress.html", progress=progress, share=share)


def overview_html(result: VideoResult, name: str) -> str:
    """The number of faces, how they were found, and any warning; `name` is the visitor's name for the file."""
    text = json.dumps(result.to_dict() | {"path": name}, indent=2)
    size = f"{result.width} \N{MULTIPLICATION SIGN} {result.height}, {format_time(result.duration_s)}"
    return render(
        "video_overview.html",
        result=result,
        max_people=MAX_PEOPLE,
        facts=facts(result) | {_("Video"): size},
        downloads=[Download.of("JSON", f"{Path(name).stem}.json", "application/json", text)],
    )


def people_html(result: VideoResult) -> str:
    """A card for each person, in order of appearance: their emotions, and a timeline of them."""
    longest = sorted(result.people, key=lambda person: -person.seen_s)[:MAX_PEOPLE]
    cards = [PersonCard.of(person, result.duration_s) for person in result.people if person in longest]
    return render("video_people.html", cards=cards, duration_s=result.duration_s, ticks=ticks(result.duration_s))
