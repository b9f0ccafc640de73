"""The DeepFER page: run it with `python app.py`; a Hugging Face Space runs it too."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence

from deepfer import DeepFERError, EmotionRecognizer, LimitError
from deepfer.arguments import bounded_int
from deepfer.checkpoint import DEFAULT
from deepfer.limits import check_limits
from deepfer.text import Message
from ui.folder import open_folder, start_cleaner
from ui.limits import MAX_SESSIONS, MAX_UPLOAD_BYTES, MAX_WAITING, UPLOAD_AGE_S

try:
    check_limits()
    folder = open_folder()  # before Gradio is imported, which reads GRADIO_TEMP_DIR
except LimitError as error:
    sys.exit(f"error: {error}")
except OSError as error:
    sys.exit(f"error: cannot create a folder for uploads: {error}; set GRADIO_TEMP_DIR to another folder")
try:
    import gradio as gr
except ValueError as error:  # from a numeric setting such as GRADIO_SERVER_PORT
    if not str(error).startswith("invalid literal for int()"):
        raise
    sys.exit(f"error: a GRADIO_ environment variable is invalid: {error}")

from ui.api_page import set_api_page
from ui.components import render
from ui.document import ICON, set_head
from ui.image_tab import image_tab
from ui.language import LANGUAGES, N_, explain, in_language, label, spoken, static
from ui.mcp_server import MCP_INSTALLED, set_mcp_server
from ui.memory import start_heap_trimmer
from ui.model_tab import model_tab
from ui.server import guard
from ui.theme import CSS, THEME
from ui.upload_parser import limit_uploads
from ui.video_tab import video_tab
from ui.webcam_tab import webcam_tab

TITLE = "DeepFER"
UNAVAILABLE = N_("The requested model, %(model)s, is unavailable: %(reason)s.")
DESCRIPTION = label(
    "Upload a photo, use your webcam or add a video: DeepFER finds the faces and estimates which of seven emotions "
    "each one shows."
)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; environment variables provide the defaults."""
    parser = argparse.ArgumentParser(description="Serve the DeepFER page.")
    parser.add_argument("--host", help="address to listen on (default: GRADIO_SERVER_NAME, else 127.0.0.1)")
    parser.add_argument(
        "--port",
        type=bounded_int(1, 65535),
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help="port to listen on (default: GRADIO_SERVER_PORT, else the first free one from 7860)",
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
    """Raise an `OSError` if this machine does not have the address. Gradio would wait forever for its server."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.bind(address)


def load_recognizer(source: str | None, revision: str | None) -> tuple[EmotionRecognizer, Message | None]:
    """Load the requested model or, if it is unavailable, the embedded one, with a warning that says why."""
    if source is None and revision is None:
        return EmotionRecognizer.from_pretrained(), None
    try:
        return EmotionRecognizer.from_pretrained(source, revision=revision), None
    except (DeepFERError, ValueError) as error:
        text = Message(UNAVAILABLE, model=source or DEFAULT, reason=str(error))
        return EmotionRecognizer.from_pretrained(), text


def header() -> str:
    """The page's name and what it does."""
    return render("header.html", title=TITLE, description=in_language(DESCRIPTION))


def footer() -> str:
    """What happens to uploads, and the languages to choose from."""
    return render("footer.html", minutes=round(UPLOAD_AGE_S / 60), languages=LANGUAGES, current=spoken())


def build_page(recognizer: EmotionRecognizer, warning: Message | None = None) -> gr.Blocks:
    """Build the page; `warning` is shown above the tabs."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(static(header), apply_default_css=False)
        if warning:
            gr.HTML(static(lambda: render("warning.html", message=explain(warning))), apply_default_css=False)
        with gr.Tabs() as tabs:
            photo = image_tab(recognizer)
            webcam_tab(recognizer, tabs, photo)
            video_tab(recognizer)
            model_tab(recognizer)
        gr.HTML(static(footer), apply_default_css=False, elem_id="privacy")
    return page.queue(max_size=MAX_WAITING, api_open=False)  # with an open API, anyone could skip the queue


# Spaces and `gradio app.py` need `demo` at module level; then the command line belongs to another program.
args = parse_arguments(None if __name__ == "__main__" else [])
recognizer, warning = load_recognizer(args.model, args.revision)
if warning:
    print(f"{warning} Using the built-in model.", file=sys.stderr)
demo = build_page(recognizer, warning)
set_head(TITLE, DESCRIPTION)
set_api_page()
set_mcp_server()
limit_uploads()
guard()
start_cleaner(folder)
start_heap_trimmer()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # exit as on Ctrl-C, which deletes uploads
    try:
        check_host(args.host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1")
        demo.launch(
            server_name=args.host,
            server_port=args.port,
            share=args.share or None,  # None: GRADIO_SHARE decides
            theme=THEME,
            css_paths=CSS,
            favicon_path=str(ICON),
            pwa=True,
            footer_links=["api", "settings", "gradio"],
            max_file_size=MAX_UPLOAD_BYTES,
            state_session_capacity=MAX_SESSIONS,
            run_history=False,  # it would keep visitors' images in their browser
            mcp_server=MCP_INSTALLED,
            ssr_mode=False,  # gains nothing here and needs Node
        )
    except OSError as error:  # unknown host, or the port is taken
        sys.exit(f"error: the page cannot be served: {error}")
