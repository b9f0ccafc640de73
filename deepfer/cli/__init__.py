"""The command line: `deepfer photo.jpg video.mp4 folder/ …` prints readable lines, JSON or CSV.

Exit status: 0 on success, 1 if any input failed, 2 for a usage error, 70 for a bug, 130 after Ctrl-C, 141 if the
program reading the output has exited.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from deepfer import __version__
from deepfer.arguments import bounded_int
from deepfer.cli.batch import MANY_IMAGES, recognize_images, recognize_video_file
from deepfer.cli.console import (
    EXIT_BROKEN_PIPE,
    EXIT_BUG,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    Console,
    fail_usage,
    note,
    report_bug,
)
from deepfer.cli.inputs import Input, find_inputs
from deepfer.cli.outputs import Target, open_output, save_targets
from deepfer.cli.writing import WriteError, writing
from deepfer.errors import DeepFERError, LimitError
from deepfer.limits import check_limits
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import VideoResult
from deepfer.results_file import ResultsFile, ResultsFileError, check_name
from deepfer.text import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: The arguments without the program's name; None for those of the process.

    Raises:
        SystemExit: A usage error (2), or `--help` or `--version` (0).
    """
    _set_up_streams()
    args = _parse(sys.argv[1:] if argv is None else list(argv))
    try:
        return _run(args)
    except KeyboardInterrupt:
        note("interrupted" + ("; run the same command with --resume to continue" if args.output else ""))
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # such as `| head`
        return EXIT_BROKEN_PIPE
    except (DeepFERError, WriteError) as error:
        note(str(error))
        return EXIT_FAILED
    except MemoryError:
        note("out of memory" + ("; run the same command with --resume to continue" if args.output else ""))
        return EXIT_FAILED
    except Exception as error:  # a bug
        report_bug(error, args.debug)
        return EXIT_BUG


def _set_up_streams() -> None:
    # Reopen closed stdout and stderr (`2>&-`) on /dev/null so that new files do not reuse their descriptors.
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            devnull = os.open(os.devnull, os.O_WRONLY)
            if devnull != number:
                os.dup2(devnull, number)
                os.close(devnull)
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 (open as long as the process lives)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for file names that the terminal's encoding cannot write
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # our own messages say what is wrong with a video


def _parse(argv: list[str]) -> argparse.Namespace:
    if any("\0" in argument for argument in argv):  # possible only from Python
        fail_usage("an argument contains a NUL character")
    if "--" in argv:  # parse_intermixed_args of Python 3.11 mishandles it, so make the inputs after it unambiguous
        end = argv.index("--")
        argv[end:] = [os.path.join(".", name) if name.startswith("-") else name for name in argv[end + 1 :]]
    return _parser().parse_intermixed_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepfer",
        description="Find every face in images and videos and classify its emotion.",
        epilog="Exit status: 0 on success, 1 if any input failed (the others are still processed), 2 for a usage "
        "error.",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="an image, a video, or a folder, which is searched recursively")
    add("--json", action="store_true", help="print one JSON object per input instead of a readable line")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="write results to FILE.jsonl (one JSON object per input) or FILE.csv (one row per face, or per person in "
        "a video) as they come; an existing FILE is replaced unless --resume is given",
    )
    add(
        "--resume",
        action="store_true",
        help="append to --output and skip the inputs that it already contains, including failed ones; model, revision "
        "and detector must be the same",
    )
    add(
        "--save",
        type=Path,
        metavar="DIR",
        help="write annotated images and videos to DIR, keeping the folder structure and, for JPEG and PNG, the name; "
        "other images become NAME.png. Videos become .mp4 if ffmpeg with H.264 is installed, else .webm without "
        "sound, and come with timeline.csv (NAME.timeline.csv if there are several), one row per frame and face",
    )
    add("--model", metavar="SOURCE", help='"cnn" (default), "resnet50v2", a checkpoint folder, or a Hub repo user/name')
    add("--revision", metavar="REV", help="branch, tag or commit of the Hub repo")
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
        help=f"processes that share the images (default: one per core for {MANY_IMAGES} images or more)",
    )
    add("--debug", action="store_true", help="print the traceback of a bug instead of writing it to a log file")
    add("--version", action="version", version=f"deepfer {__version__}")
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.resume and not args.output:
        fail_usage("--resume needs --output")
    try:
        check_limits()
        if args.output:
            check_name(args.output)
    except (LimitError, ResultsFileError) as error:
        fail_usage(str(error))
    inputs = find_inputs(args.inputs, args.save)
    targets = save_targets(inputs, args.save) if args.save else {}
    _check_not_saved_over(args.output, targets)
    recognizer = _load(args)
    with open_output(args.output, args.resume, recognizer.provenance, inputs) as output:
        done = output.done if output else {}
        todo = [item for item in inputs if str(item.path) not in done]
        if len(todo) < len(inputs):
            note(f"{len(inputs) - len(todo)} of {len(inputs)} inputs are in {args.output} already")
        failed = any(done.get(str(item.path)) for item in inputs)
        if todo:
            failed |= _recognize(recognizer, todo, targets, args, output)
    return EXIT_FAILED if failed else 0


def _check_not_saved_over(output: Path | None, targets: Mapping[Path, Target]) -> None:
    saved = {os.path.realpath(path) for target in targets.values() for path in target.files}
    if output and os.path.realpath(output) in saved:
        fail_usage(f"--output {output} is a file that --save would write: choose another name")


def _load(args: argparse.Namespace) -> EmotionRecognizer:
    try:
        recognizer = EmotionRecognizer.from_pretrained(args.model, revision=args.revision, detector=args.detector)
    except ValueError as error:  # no such --model, --revision or --detector
        fail_usage(str(error))
    if recognizer.revision:
        note(f"model: {recognizer.model_name} at commit {recognizer.revision}")
    if args.detector != "auto":
        note(f"detector: {recognizer.detector_name}")
    return recognizer


def _recognize(
    recognizer: EmotionRecognizer,
    todo: Sequence[Input],
    targets: Mapping[Path, Target],
    args: argparse.Namespace,
    output: ResultsFile | None,
) -> bool:
    """Recognize the inputs and print or write each result. Returns whether any failed."""
    images = [(item, targets.get(item.path)) for item in todo if not item.is_video]
    faces = failed = 0
    with Console(len(todo)) as console, closing(recognize_images(recognizer, images, args.workers)) as results:
        for item in todo:
            if item.is_video:
                result = recognize_video_file(recognizer, item.path, targets.get(item.path), console)
            else:
                result = next(results)
            if output:
                with writing(args.output):
                    output.write(result)  # after the annotated image, so that --resume never misses one
            elif args.json:
                console.print(json.dumps(result.to_dict()))
            elif not result.error:
                console.print(result.line())
            if result.error:
                console.note(result.error)
                failed += 1
            if isinstance(result, VideoResult) and result.warning:
                console.note(f"{printable(item.path)}: {result.warning}")
            faces += result.count
            console.step()
    if output:
        note(f"{len(todo)} inputs, {faces} faces, {failed} failed: {args.output}")
    return failed > 0
