"""The command line: `python -m deepfer.annotate SOURCE OUT`.

Exit status: 0 on success, 1 if any input failed or the results cannot be written, 2 for a usage error, 70 for a bug,
130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deepfer.annotate import CHUNK, ENGINES, AnnotationError, Summary, annotate
from deepfer.annotate.publish import check_name, publish
from deepfer.arguments import bounded_int
from deepfer.cli.console import EXIT_BUG, EXIT_FAILED, EXIT_INTERRUPTED, fail_usage, note, report_bug
from deepfer.errors import DeepFERError, LimitError
from deepfer.text import first_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: The arguments without the program's name; None for those of the process.

    Raises:
        SystemExit: A usage error (2), or `--help` (0).
    """
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except KeyboardInterrupt:
        note("interrupted; run the same command to continue")
        return EXIT_INTERRUPTED
    except (AnnotationError, LimitError) as error:
        fail_usage(str(error))
    except DeepFERError as error:
        note(str(error))
        return EXIT_FAILED
    except OSError as error:
        note(f"{error.filename or args.out}: {error.strerror or first_line(error)}")
        return EXIT_FAILED
    except MemoryError:
        note("out of memory; run the same command to continue")
        return EXIT_FAILED
    except Exception as error:  # a bug
        report_bug(error, args.debug)
        return EXIT_BUG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deepfer.annotate",
        description="Find every face in a data set of any size and classify its emotion. Writes Parquet files with a "
        "row per face. If it is interrupted, the same command continues it.",
        epilog="Exit status: 0 on success, 1 if any input failed (the others are still processed), 2 for a usage "
        "error.",
    )
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="a folder of images and videos, a text file with a path or URL per line, Parquet files with a column of "
        "images, a folder written by datasets.save_to_disk, a URL such as s3://bucket/photos, or a data set on the "
        "Hub: user/name or user/name@revision",
    )
    add("out", type=Path, metavar="OUT", help="the folder of the results; with Ray, every node must reach it")
    add("--engine", choices=ENGINES, default="local", help="processes on this machine (default), or Ray")
    add("--workers", type=bounded_int(1), metavar="N", help="the number of processes (default: one per core)")
    add("--address", metavar="HOST:PORT", help="a running Ray cluster, or auto to find it (default: start Ray)")
    add("--chunk", type=bounded_int(1), default=CHUNK, metavar="N", help=f"inputs per file (default: {CHUNK})")
    add("--model", metavar="SOURCE", help='"cnn" (default), "resnet50v2", a checkpoint folder, or a Hub repo user/name')
    add("--revision", metavar="REV", help="branch, tag or commit of the model's Hub repo")
    add("--detector", default="auto", metavar="NAME", help="as for deepfer --detector (default: DeepFER's own)")
    add("--no-resume", dest="resume", action="store_false", help="remove the results of an earlier run first")
    add("--push", metavar="USER/NAME", help="publish OUT as a data set on the Hub when it is complete")
    add("--debug", action="store_true", help="print the traceback of a bug instead of writing it to a log file")
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.push:
        check_name(args.push)  # before the work
    names = ("engine", "workers", "address", "chunk", "model", "revision", "detector", "resume")
    summary = annotate(args.source, args.out, **{name: getattr(args, name) for name in names})
    note(_line(summary, args.out))
    if args.push:
        note(f"published: {publish(args.out, args.push)}")
    return EXIT_FAILED if summary.failed else 0


def _line(summary: Summary, out: Path) -> str:
    return f"{summary.inputs} inputs, {summary.faces} faces, {summary.failed} failed: {out}"


if __name__ == "__main__":
    sys.exit(main())
