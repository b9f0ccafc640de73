"""`python -m deepfer photo.jpg clip.mp4 folder/ …`: out comes a line for each to read, or JSON, or CSV.

Exit status: 0 where every input gave a result, 1 where some failed, 2 for wrong usage, 70 for a bug, 130 after Ctrl-C,
141 where whoever read the output has gone.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from deepfer import __version__
from deepfer.arguments import bounded_int
from deepfer.errors import DeepFERError, ImageError, LimitError, VideoError
from deepfer.limits import check_limits
from deepfer.result import Result, VideoResult
from deepfer.results_file import LockedError, Maker, ResultsFile, ResultsFileError, check_name

if TYPE_CHECKING:
    import numpy as np

    from deepfer.checkpoint import Checkpoint
    from deepfer.face import Face
    from deepfer.recognizer import EmotionRecognizer
    from deepfer.video import Progress

# What else takes its time to load, or is not always needed, is imported where it is used.

MANY = 5  # inputs from which on there is a progress bar
MANY_PICTURES = 16  # from which on there is a worker for each core: to start them takes about as long as ten pictures
EXIT_FAILED, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED, EXIT_CLOSED = 1, 2, 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: The arguments, without the program's name; None for the process's own.

    Raises:
        SystemExit: Wrong usage (2), or `--help` and `--version` (0).
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is no fault
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong with a clip is told in one line, by us
    if any("\0" in argument for argument in argv):  # from Python alone: no system passes one on
        _usage("an argument holds a NUL, which no name can")
    if "--" in argv:  # behind it all are inputs, which Python 3.11 does not know where options stand between them
        end = argv.index("--")
        argv[end:] = [os.path.join(".", name) if name.startswith("-") else name for name in argv[end + 1 :]]
    args = _parser().parse_intermixed_args(argv)  # options may stand between inputs
    try:
        return _run(args)
    except KeyboardInterrupt:
        _note("interrupted" + ("; with --resume the same command goes on from here" if args.output else ""))
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `| head`: nobody reads on
        return EXIT_CLOSED
    except _CannotWriteError as error:
        _note(str(error))
        return EXIT_FAILED
    except DeepFERError as error:
        _note(str(error))
        return EXIT_FAILED
    except MemoryError:
        _note("there is not enough memory for this" + ("; with --resume it can be gone on with" if args.output else ""))
        return EXIT_FAILED
    except Exception as error:  # a bug: told, kept, and never taken for a result
        _report_bug(error, args.debug)
        return EXIT_BUG


def _open_closed_streams() -> None:
    """Lead what the shell has closed (`2>&-`) nowhere, lest a file that is opened takes its number and its words."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 (as long as the process)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepfer",
        description="Find every face in pictures and clips and tell its emotion.",
        epilog="Exit status: 0 where every input gave a result, 1 where some failed, 2 for wrong usage.",
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a picture, a clip, or a folder, which is searched with its subfolders",
    )
    add("--json", action="store_true", help="one JSON object per line and input, instead of a line to read")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="write results to FILE.jsonl (one JSON object per input) or FILE.csv (one row per face, of a clip one per "
        "person), each as soon as it is there; an existing FILE is replaced when the first result is there, unless "
        "--resume is given",
    )
    add(
        "--resume",
        action="store_true",
        help="add to --output, and skip the inputs that are in it, failed ones too; it must be of the same model, "
        "revision and detector",
    )
    add(
        "--save",
        type=Path,
        metavar="DIR",
        help="write annotated pictures to DIR under their own names, those from a folder as they lie in it; where two "
        "share a name, the folders they are in go before it; what is neither JPEG nor PNG becomes NAME.png. Of a clip "
        "the annotated clip (.mp4 where there is an ffmpeg with H.264, else .webm without sound) and timeline.csv, a "
        "row per frame and face; of several clips NAME.timeline.csv each",
    )
    add("--model", metavar="SOURCE", help='"cnn" (default), "resnet50v2", a checkpoint folder, or a Hub repo user/name')
    add("--revision", metavar="REV", help="branch, tag or commit of a Hub repo")
    add(
        "--detector",
        default="auto",
        metavar="auto|deepfer|yunet|haar|FILE.onnx|FOLDER",
        help="auto (default) or deepfer: DeepFER's own, embedded; yunet: YuNet, downloaded once; haar: OpenCV's Haar "
        "cascade; FILE.onnx: a YuNet file; FOLDER: a detector made by training.detector",
    )
    add(
        "--workers",
        type=bounded_int(1),
        metavar="N",
        help=f"processes that share the pictures (default: one for each core from {MANY_PICTURES} pictures on)",
    )
    add("--debug", action="store_true", help="show a bug's traceback instead of writing it to a log file")
    add("--version", action="version", version=f"deepfer {__version__}")
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.resume and not args.output:
        _usage("--resume needs --output")
    try:
        check_limits()
        if args.output:
            check_name(args.output)
    except (LimitError, ResultsFileError) as error:
        _usage(str(error))
    inputs = _find_inputs(args.inputs, args.save)
    targets = _save_targets(inputs, args.save) if args.save else {}
    if args.output and os.path.realpath(args.output) in {
        os.path.realpath(path) for target in targets.values() for path in (target.annotated, target.table) if path
    }:
        _usage(f"--output {args.output} is what --save would write: name another file")
    recognizer = _load(args)
    with _open_output(args, inputs, _maker(recognizer)) as output:
        done = output.done if output else {}
        todo = [item for item in inputs if str(item.path) not in done]
        if len(todo) < len(inputs):
            _note(f"{len(inputs) - len(todo)} of {len(inputs)} inputs are in {args.output} already")
        failed = any(done.get(str(item.path)) for item in inputs)
        if todo:
            failed |= _recognize(recognizer, todo, targets, args, output)
    return EXIT_FAILED if failed else 0


def _open_output(
    args: argparse.Namespace, inputs: Sequence[_Input], maker: Maker
) -> AbstractContextManager[ResultsFile | None]:
    if not args.output:
        return nullcontext()
    try:
        with _writing(args.output):
            return ResultsFile(args.output, maker, (item.path for item in inputs), resume=args.resume)
    except LockedError as error:
        raise _CannotWriteError(str(error)) from error
    except ResultsFileError as error:
        _usage(str(error))


def _recognize(
    recognizer: EmotionRecognizer,
    todo: Sequence[_Input],
    targets: Mapping[Path, _Target],
    args: argparse.Namespace,
    output: ResultsFile | None,
) -> bool:
    """Recognize inputs and print or write each result. Returns whether one failed."""
    from deepfer.image_io import printable

    pictures = [_Picture(item, targets.get(item.path)) for item in todo if not item.is_video]
    faces = failed = 0
    with (
        _Console(len(todo)) as console,
        closing(_recognize_pictures(recognizer, pictures, args.workers)) as results,
    ):
        for item in todo:
            if item.is_video:
                result = _recognize_clip(recognizer, item, targets.get(item.path), console)
            else:
                result = next(results)
            if output:
                with _writing(args.output):
                    output.write(result)  # after the annotated picture, so that what is in the file is complete
            elif args.json:
                console.result(json.dumps(result.to_dict()))
            elif not result.error:
                console.result(result.line())
            if result.error:
                console.note(result.error)
                failed += 1
            if isinstance(result, VideoResult) and result.warning:
                console.note(f"{printable(item.path)}: {result.warning}")
            faces += result.count
            console.step()
    if output:
        _note(f"{len(todo)} inputs, {faces} faces, {failed} failed: {args.output}")
    return failed > 0


@contextmanager
def _runtime_silenced() -> Iterator[None]:
    """LiteRT greets on the process's own stderr when its first model is loaded, and has no switch for it."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _load(args: argparse.Namespace) -> EmotionRecognizer:
    from deepfer.checkpoint import resolve
    from deepfer.classifier import EmotionClassifier
    from deepfer.detection import load_detector
    from deepfer.recognizer import EmotionRecognizer

    try:
        checkpoint = resolve(args.model, args.revision)
        with _runtime_silenced():
            classifier = EmotionClassifier(checkpoint)
        recognizer = EmotionRecognizer(classifier, load_detector(args.detector))
    except ValueError as error:  # --model, --revision or --detector is of no known form
        _usage(str(error))
    if recognizer.revision:
        _note(f"model: {recognizer.model_name} at commit {recognizer.revision}")
    if args.detector != "auto":
        _note(f"detector: {recognizer.detector_name}")
    return recognizer


@dataclass(frozen=True)
class _Input:
    """One picture or clip to read, or what is wrong with it already."""

    path: Path
    depth: int = 1  # how many of its last parts name it in --save
    fault: str | None = None

    @property
    def is_video(self) -> bool:
        from deepfer.video_reader import SUFFIXES

        return not self.fault and self.path.suffix.lower() in SUFFIXES


def _find_inputs(arguments: Sequence[str], save: Path | None) -> list[_Input]:
    """The inputs that are meant, each once, in order of the arguments and sorted within a folder."""
    found: dict[str, _Input] = {}
    for argument in arguments:
        if not argument:
            _usage("an input's name is empty")
        path = Path(argument)
        if save and len(arguments) > 1 and os.path.isdir(path) and os.path.realpath(path) == os.path.realpath(save):
            _note(f"{path} is left out: it is the folder of --save")  # photos/* holds it from the second time on
            continue
        # What is not named like a clip is taken for a picture, whatever its name.
        items = _walk(path, save) if os.path.isdir(path) else [_Input(path)]
        for item in items:
            found.setdefault(os.path.abspath(item.path), item)
    if not found:
        _usage("no other input is named")
    return list(found.values())


def _walk(folder: Path, save: Path | None) -> list[_Input]:
    """The pictures and clips in a folder and below, and the subfolders that cannot be read.

    Hidden files are left out, links to folders (they may lead round in a circle), and the folder of --save.
    """
    from deepfer import image_io, video_reader

    own = os.path.realpath(save) if save else None
    found: list[_Input] = []

    def unreadable(error: OSError) -> None:
        found.append(_Input(Path(error.filename), fault=error.strerror))

    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(root, name)) != own
        ]
        paths = [Path(root, name) for name in files if not name.startswith(".")]
        found += [
            _Input(path, depth=len(path.relative_to(folder).parts))
            for path in paths
            if path.suffix.lower() in image_io.SUFFIXES or video_reader.may_be_video(path)
        ]
    return sorted(found, key=lambda item: item.path) or [_Input(folder, fault="no pictures or clips in this folder")]


@dataclass(frozen=True)
class _Target:
    """Where --save puts what comes of an input: the annotated picture or clip, and a clip's table."""

    annotated: Path
    table: Path | None = None


@dataclass(frozen=True)
class _Picture:
    """A picture to recognize, or an input that cannot be one, and where --save puts it."""

    item: _Input
    target: _Target | None


def _recognize_pictures(
    recognizer: EmotionRecognizer, pictures: Sequence[_Picture], workers: int | None
) -> Generator[Result, None, None]:
    """What is said about each picture, in their order; what --save wants of it is written by then."""
    import cv2

    if workers is None:
        workers = cv2.getNumberOfCPUs() if len(pictures) >= MANY_PICTURES else 1  # those that this container may use
    if workers == 1 or len(pictures) < 2:
        for picture in pictures:
            yield _recognize_picture(recognizer, picture)
        return
    from deepfer.image_io import printable
    from deepfer.workers import Killed, in_order

    prepare = partial(_prepare_worker, recognizer.classifier.checkpoint, recognizer.detector.source)
    with closing(in_order(workers, prepare, pictures)) as answers:
        for picture, answer in zip(pictures, answers, strict=True):
            if isinstance(answer, Killed):
                path = picture.item.path
                fault = f"{printable(path)}: whatever reads it is killed ({answer.signal})"
                answer = Result(str(path), *_maker(recognizer), error=fault)
            yield answer


def _prepare_worker(checkpoint: Checkpoint, detector: str) -> Callable[[_Picture], Result]:
    """A recognizer of a worker's own, on one thread: the other cores have workers of theirs."""
    import cv2

    from deepfer.classifier import EmotionClassifier
    from deepfer.detection import load_detector
    from deepfer.recognizer import EmotionRecognizer

    cv2.setNumThreads(1)
    with _runtime_silenced():
        classifier = EmotionClassifier(checkpoint)
    return partial(_recognize_picture, EmotionRecognizer(classifier, load_detector(detector)))


def _recognize_picture(recognizer: EmotionRecognizer, picture: _Picture) -> Result:
    from deepfer.image_io import printable, read_image

    path = picture.item.path
    try:
        if picture.item.fault:
            raise ImageError(f"{printable(path)}: {picture.item.fault}")
        rgb = read_image(path)
        height, width = rgb.shape[:2]
        result = Result(str(path), *_maker(recognizer), width, height, recognizer.recognize(rgb))
        if picture.target:
            _save(picture.target.annotated, rgb, result.faces)
        return result
    except (ImageError, _NameTooLongError) as error:
        return Result(str(path), *_maker(recognizer), error=str(error))


def _maker(recognizer: EmotionRecognizer) -> Maker:
    return recognizer.model_name, recognizer.revision, recognizer.detector_name


def _recognize_clip(
    recognizer: EmotionRecognizer, item: _Input, target: _Target | None, console: _Console
) -> Result | VideoResult:
    """What is said about a clip; what --save wants of it is written by then."""
    from deepfer.video import recognize_video

    files: dict[str, Path | None] = {}
    if target:
        files = {"video": target.annotated, "table": target.table}
    try:
        with _writing(target.annotated if target else item.path):
            if target:
                target.annotated.parent.mkdir(parents=True, exist_ok=True)
            with closing(recognize_video(recognizer, item.path, **files)) as steps, console.clip(item.path) as show:
                with _runtime_silenced():  # OpenCV remarks on the process's own stderr on a file that it starts
                    progress = next(steps)
                show(progress)
                for progress in steps:
                    show(progress)
    except (VideoError, _NameTooLongError) as error:
        return Result(str(item.path), *_maker(recognizer), error=str(error))
    assert progress.result
    return progress.result


def _save_targets(inputs: list[_Input], save: Path) -> dict[Path, _Target]:
    """What comes of each input, under a name that depends on the inputs alone, so that --resume finds the same.

    That is the file's name, or its path within the folder that was given; where two are the same, as many of the
    folders above go before it as tell them apart.
    """
    from deepfer.image_io import WRITERS
    from deepfer.video_writer import video_suffix

    pictures = {item.path: item.depth for item in inputs if not item.fault}
    clips = {item.path for item in inputs if item.is_video}
    parts = {}
    for path in pictures:
        root, *rest = Path(os.path.abspath(path)).parts
        parts[path] = [root.strip("/\\:"), *rest]
    while True:
        names = {path: tuple(parts[path][-depth:]) for path, depth in pictures.items()}
        count = Counter(names.values())
        clashing = [path for path in pictures if count[names[path]] > 1]
        if not clashing:
            break
        for path in clashing:
            pictures[path] += 1

    def suffixes(path: Path) -> tuple[str, ...]:
        return (video_suffix(),) if path in clips else tuple(WRITERS)

    targets: dict[Path, _Target] = {}
    taken: set[Path] = set()
    originals = {os.path.realpath(path) for path in pictures}
    # Who can keeps its own name.
    for path in sorted(pictures, key=lambda path: path.suffix.lower() not in suffixes(path)):
        target = Path(save, *names[path])
        while target.suffix.lower() not in suffixes(path) or target in taken:
            target = target.with_name(target.name + (video_suffix() if path in clips else ".png"))
        taken.add(target)
        table = None
        if path in clips:
            table = save / "timeline.csv" if len(clips) == 1 else target.with_name(f"{target.stem}.timeline.csv")
        for file in filter(None, (target, table)):
            if os.path.realpath(file) in originals:
                _usage(f"--save {save} would overwrite {file}, which is an input: name another folder")
        targets[path] = _Target(target, table)
    return targets


def _save(target: Path, rgb: np.ndarray, faces: list[Face]) -> None:
    from deepfer.drawing import draw_faces
    from deepfer.image_io import write_image

    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, draw_faces(rgb, faces))


class _Console:
    """Results on stdout, faults on stderr, and over many inputs a progress bar there, none writing into another."""

    def __init__(self, total: int) -> None:
        self._bar: Any = None
        if total >= MANY:
            from tqdm import tqdm

            # A log file gets a line's worth now and then, not ten a second.
            self._bar = tqdm(total=total, unit=" inputs", mininterval=0.1 if sys.stderr.isatty() else 10)

    def __enter__(self) -> _Console:
        return self

    @contextmanager
    def clip(self, path: Path) -> Iterator[Callable[[Progress], None]]:
        """A bar of its own for a clip, on a terminal: what brings it up to date."""
        from tqdm import tqdm

        from deepfer.image_io import printable

        shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
        with tqdm(total=1, desc=printable(path.name), leave=False, disable=None, bar_format=shape) as bar:

            def show(progress: Progress) -> None:
                bar.total = progress.total_s or progress.done_s
                bar.update(progress.done_s - bar.n)

            yield show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def result(self, line: str) -> None:
        with self._bar_aside(sys.stdout):
            try:
                print(line, flush=True)
            except OSError as error:
                # What is still to be written goes nowhere: Python would try it again at exit, and complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                if isinstance(error, BrokenPipeError):
                    raise
                raise _CannotWriteError(f"stdout cannot be written: {error.strerror}") from error

    def note(self, line: str) -> None:
        with self._bar_aside(sys.stderr):
            _note(line)

    def step(self) -> None:
        if self._bar is not None:
            self._bar.update()

    @contextmanager
    def _bar_aside(self, stream: TextIO) -> Iterator[None]:
        terminal = sys.stderr.isatty()
        in_the_way = self._bar is not None and (stream is sys.stderr or (terminal and stream.isatty()))
        if in_the_way:
            self._bar.clear()
        yield
        if in_the_way and terminal:
            self._bar.refresh()


class _CannotWriteError(Exception):
    """A result cannot be written: the disk is full, or what is in the way cannot be replaced."""


class _NameTooLongError(DeepFERError):
    """What --save would write of an input has a longer name than files can have; the others are none the worse."""


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` while writing, which is expected, into one of the two above that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _NameTooLongError(f"{path} cannot be written: {error.strerror}") from error
        raise _CannotWriteError(f"{path} cannot be written: {error.strerror or error}") from error


def _note(line: str) -> None:
    print(f"deepfer: {line}", file=sys.stderr)


def _usage(line: str) -> NoReturn:
    _note(line)
    raise SystemExit(EXIT_USAGE)


def _report_bug(error: Exception, debug: bool) -> None:
    told = "".join(traceback.format_exception(error))
    if debug:
        _note(f"a bug: {type(error).__name__}\n{told}")
        return
    with tempfile.NamedTemporaryFile("w", prefix="deepfer-", suffix=".log", delete=False) as log:
        log.write(f"deepfer {__version__}, Python {sys.version}\n{sys.argv}\n{told}")
    _note(f"a bug, {type(error).__name__}; its traceback is in {log.name}")
