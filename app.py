"""The DeepFER page: `python app.py`, and what a Hugging Face Space runs."""

import argparse
import html
import os
import signal
import socket
import sys
from collections.abc import Sequence

from deepfer import DeepFERError, EmotionRecognizer, LimitError
from deepfer.arguments import bounded_int
from deepfer.checkpoint import DEFAULT
from deepfer.drawing import STYLES
from deepfer.limits import check_limits
from ui.folder import open_folder, start_cleaner
from ui.limits import MAX_SESSIONS, MAX_UPLOAD_BYTES, MAX_WAITING, UPLOAD_AGE_S

try:
    check_limits()
    folder = open_folder()  # before Gradio is imported: it reads GRADIO_TEMP_DIR only then
except LimitError as error:
    sys.exit(f"error: {error}")
except OSError as error:
    sys.exit(f"error: cannot make a folder for visitors' files: {error}; set GRADIO_TEMP_DIR to another place")
try:
    import gradio as gr
except ValueError as error:  # it reads GRADIO_SERVER_PORT and the like as it is imported
    if not str(error).startswith("invalid literal for int()"):
        raise
    sys.exit(f"error: Gradio cannot use a GRADIO_ variable of the environment: {error}")

from ui.image_tab import image_tab
from ui.memory import keep_small
from ui.model_tab import model_tab
from ui.server import guard
from ui.theme import CSS, THEME
from ui.upload_parser import limit_uploads
from ui.video_tab import video_tab
from ui.webcam_tab import webcam_tab

TITLE = "DeepFER"
SENTENCE = "Finds every face in a picture and tells which of seven emotions it shows, and how sure it is."
PRIVACY = (
    "Privacy: your pictures and clips are read on the machine that serves this page, for your answer and nothing else, "
    f"and deleted from it after about {UPLOAD_AGE_S / 60:.0f} minutes."
)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; environment variables stand in for what it leaves out."""
    parser = argparse.ArgumentParser(description=SENTENCE)
    parser.add_argument("--host", help="address to listen on (default: GRADIO_SERVER_NAME, else 127.0.0.1)")
    parser.add_argument(
        "--port",
        type=bounded_int(1, 65535),
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help="port to listen on (default: GRADIO_SERVER_PORT, else from 7860)",
    )
    parser.add_argument(
        "--model",
        metavar="SOURCE",
        default=os.environ.get("DEEPFER_MODEL") or None,
        help="embedded model, checkpoint folder, or user/name on the Hub (default: DEEPFER_MODEL, else cnn)",
    )
    parser.add_argument(
        "--revision",
        metavar="REV",
        default=os.environ.get("DEEPFER_REVISION") or None,
        help="branch, tag or commit on the Hub (default: DEEPFER_REVISION)",
    )
    parser.add_argument("--share", action="store_true", help="also serve at a public gradio.live address")
    return parser.parse_args(arguments)


def check_host(host: str) -> None:
    """Raise an `OSError` where this machine has no such address: Gradio would wait for its server for ever."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.bind(address)


def load_recognizer(source: str | None, revision: str | None) -> tuple[EmotionRecognizer, str | None]:
    """The recognizer asked for; where it cannot be had, the embedded one and a sentence that says so."""
    if source is None and revision is None:
        return EmotionRecognizer.from_pretrained(), None
    try:
        return EmotionRecognizer.from_pretrained(source, revision=revision), None
    except (DeepFERError, ValueError) as error:
        return (
            EmotionRecognizer.from_pretrained(),
            f"The model asked for, {source or DEFAULT}, cannot be used: {error}.",
        )


def build_page(recognizer: EmotionRecognizer, warning: str | None = None) -> gr.Blocks:
    """The page around its tabs; `warning` stands above them."""
    emotions = "".join(
        f'<li style="--c: {style.hex}"><span class="fer-emoji" aria-hidden="true">{style.emoji}</span> {label}</li>'
        for label, style in STYLES.items()
    )
    header = f'<header class="fer-header"><h1>{TITLE}</h1><p>{SENTENCE}</p><ul>{emotions}</ul></header>'
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(header, apply_default_css=False)
        if warning:
            gr.HTML(
                '<div class="fer-note fer-warning" role="alert"><strong>This is the embedded model.</strong> '
                f"{html.escape(warning)}</div>",
                apply_default_css=False,
            )
        with gr.Tabs() as tabs:
            picture = image_tab(recognizer)
            webcam_tab(recognizer, tabs, picture)
            video_tab(recognizer)
            model_tab(recognizer)
        gr.HTML(f'<footer class="fer-footer">{PRIVACY}</footer>', apply_default_css=False)
    return page.queue(max_size=MAX_WAITING, api_open=False)  # open, it would let anyone pass the line, and its turns


# Spaces and `gradio app.py` want `demo` at module level; only as a program does this read the command line.
args = parse_arguments(None if __name__ == "__main__" else [])
recognizer, warning = load_recognizer(args.model, args.revision)
if warning:
    print(f"{warning} The page shows the embedded model instead.", file=sys.stderr)
demo = build_page(recognizer, warning)
limit_uploads()
guard()
start_cleaner(folder)
keep_small()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: else what was uploaded would stay
    try:
        check_host(args.host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1")
        demo.launch(
            server_name=args.host,
            server_port=args.port,
            share=args.share or None,  # None leaves GRADIO_SHARE its say
            theme=THEME,
            css_paths=CSS,
            footer_links=["api", "settings", "gradio"],
            max_file_size=MAX_UPLOAD_BYTES,
            state_session_capacity=MAX_SESSIONS,
            run_history=False,  # it would keep a visitor's pictures in their browser
            ssr_mode=False,  # nothing to gain here, and it would want Node
        )
    except OSError as error:  # no such host, or the port is taken
        sys.exit(f"error: the page cannot be served: {error}")
