"""The video tab: a video goes in; the annotated video, a timeline for each person and a table come out."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from deepfer import DeepFERError, EmotionRecognizer, VideoError, recognize_video
from deepfer.limits import MAX_VIDEO_S
from deepfer.result import VideoResult
from deepfer.video import Progress
from deepfer.video_reader import LARGEST
from deepfer.video_writer import video_suffix
from ui.components import Download, facts, format_time, render
from ui.limits import UPLOAD_AGE_S
from ui.timeline import build_timeline
from ui.uploads import uploaded_path
from ui.usage import USAGE

EMPTY = (
    f'<p class="fer-note">Add a video of up to {MAX_VIDEO_S / 60:.3g} minutes and {LARGEST}. Each person will get a '
    "number and a timeline here.</p>"
)
CANCELLED = (
    '<p class="fer-note" role="status">Cancelled. Your upload will be deleted after about '
    f"{UPLOAD_AGE_S / 60:.0f} minutes.</p>"
)
MAX_PEOPLE = 12  # shown on the page, longest on screen first; the table and the JSON have everyone


def video_tab(recognizer: EmotionRecognizer) -> None:
    """Add the tab to the surrounding `gr.Tabs`, and the endpoint `/recognize_video`."""
    handlers = _Handlers(recognizer)
    with gr.Tab("Video", id="video"):
        with gr.Row(equal_height=True):
            with gr.Column():
                video = gr.Video(
                    label="Your video",
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
        # Pass the file on as it is: gr.Video would run ffprobe on it, and fail without one. Handlers must not return
        # gr.update or gr.skip for this component, which would replace it by an ordinary gr.Video.
        output.postprocess = lambda value: None if value is None else FileData(path=value)
        overview = gr.HTML(EMPTY, apply_default_css=False, elem_id="clip-overview")
        cancel = gr.Button("Cancel", elem_id="clip-cancel")  # style.css shows it during progress
        table = gr.DownloadButton("All faces in all frames (CSV)", visible=False, elem_id="clip-table")
        people = gr.HTML(apply_default_css=False, elem_id="people")
        file = gr.File(visible=False, label="Table")  # the endpoint's second and third results
        details = gr.JSON(visible=False, label="People")

        # No `preprocess`, which would run ffmpeg on the file. One video at a time, the rest queue: one takes two cores,
        # and images and webcams must not wait for it.
        options: dict[str, Any] = {"preprocess": False, "concurrency_limit": 1, "concurrency_id": "clip"}
        running = video.change(
            handlers.show,
            video,
            [output, overview, people, table],
            show_progress="minimal",
            show_progress_on=overview,
            api_visibility="private",
            **options,
        )
        # The message comes in a step of its own: a late progress report can overwrite what a cancelling event returns.
        video.clear(None, cancels=running, api_visibility="private")
        cancel.click(None, cancels=running, api_visibility="private").then(
            lambda: (None, CANCELLED, "", gr.update(visible=False)),
            outputs=[output, overview, people, table],
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )
        gr.on([], handlers.recognize_video, video, [output, file, details], api_name="recognize_video", **options)


class _Handlers:
    """The functions behind the tab's events."""

    def __init__(self, recognizer: EmotionRecognizer) -> None:
        self._recognizer = recognizer

    def _run(self, upload: dict[str, Any]) -> Iterator[tuple[Progress, Path, Path]]:
        """Yield each report of progress with the paths of the annotated video and the table.

        With the last report the files exist, until the next item is asked for.
        """
        path = uploaded_path(upload)
        USAGE.add()  # start only if there is room; what is written is measured later
        with tempfile.TemporaryDirectory(prefix="clip-") as folder:
            annotated, table = Path(folder, f"{path.stem[:80]}-faces{video_suffix()}"), Path(folder, "timeline.csv")
            try:
                for progress in recognize_video(self._recognizer, path, video=annotated, table=table):
                    yield progress, annotated, table
            except VideoError as error:
                raise VideoError(str(error).replace(str(path), path.name)) from error

    def show(self, upload: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
        """Yield what the page shows for a video: the annotated video, progress or overview, the people, the table."""
        no_table = gr.update(value=None, visible=False)
        if upload is None:
            yield None, EMPTY, "", no_table
            return
        yield None, progress_html(Progress(0, None)), "", no_table
        try:
            for progress, annotated, table in self._run(upload):
                result = progress.result
                if result is None:
                    yield None, progress_html(progress), gr.skip(), gr.skip()
                    continue
                name = upload.get("orig_name") or Path(upload["path"]).name
                download = gr.update(value=str(table), visible=True)
                yield str(annotated), overview_html(result, name), people_html(result), download
        except DeepFERError as error:
            message = render("error.html", title="This video could not be processed", message=str(error))
            yield None, message, "", no_table

    def recognize_video(self, clip: dict[str, Any] | None) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
        """Follow every face through a video and estimate its emotions.

        Takes MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV or Ogg, by default up to ten minutes and 1080p. Returns the
        annotated video; timeline.csv, a row for each frame and face with time_s, track_id, box, emotion, confidence and
        the probabilities of the seven emotions; and an object: width, height, model, revision, detector, duration_s,
        fps, frames, and people, each with track_id, first_s, last_s, seen_s, their most frequent emotion, the seconds
        of each of the seven, and their mean probabilities. Until then the object holds done_s, total_s and left_s.

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
            for progress, annotated, table in self._run(clip):
                if progress.result is None:
                    state = {"done_s": progress.done_s, "total_s": progress.total_s, "left_s": progress.left_s}
                    yield None, None, state
                    continue
                result = progress.result.to_dict()
                del result["path"]  # gradio_client would try to fetch any object with a "path" as a file
                yield str(annotated), str(table), result
        except DeepFERError as error:
            raise gr.Error(str(error), print_exception=False) from error


def progress_html(progress: Progress) -> str:
    """A bar, how much is done, and how long the rest will take."""
    share = min(1.0, progress.done_s / progress.total_s) if progress.total_s else None
    return render("video_progress.html", progress=progress, share=share)


def overview_html(result: VideoResult, name: str) -> str:
    """The number of people, how they were found, and any warning; `name` is the visitor's name for the file."""
    text = json.dumps(result.to_dict() | {"path": name}, indent=2)
    size = f"{result.width} \N{MULTIPLICATION SIGN} {result.height}, {format_time(result.duration_s)}"
    return render(
        "video_overview.html",
        result=result,
        max_people=MAX_PEOPLE,
        facts=facts(result) | {"Video": size},
        downloads=[Download.of("JSON", f"{Path(name).stem}.json", "application/json", text)],
    )


def people_html(result: VideoResult) -> str:
    """A card for each person, in order of appearance: their emotions, and a timeline of them."""
    longest = sorted(result.people, key=lambda person: -person.seen_s)[:MAX_PEOPLE]
    people = [(person, build_timeline(person, result.duration_s)) for person in result.people if person in longest]
    return render("video_people.html", people=people, duration_s=result.duration_s)
