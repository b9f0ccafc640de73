"""The README's example: the astronaut's annotated picture, and what Python and the command line answer.

    python -m benchmarks.example

Writes `docs/astronaut.jpg` and `docs/example.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

from deepfer import EmotionRecognizer, draw_faces

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CODE = """\
from deepfer import EmotionRecognizer, read_image

recognizer = EmotionRecognizer.from_pretrained()
for face in recognizer.recognize(read_image("astronaut.jpg")):
    print(face.emotion, f"{face.confidence:.0%}", face.box)
"""


def main() -> int:
    """Run the code and the command as they are printed, beside the picture that they name."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    DOCS.mkdir(exist_ok=True)
    recognizer = EmotionRecognizer.from_pretrained()
    picture = astronaut()
    Image.fromarray(draw_faces(picture, recognizer.recognize(picture))).save(DOCS / "astronaut.jpg", quality=92)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Image.fromarray(picture).save("astronaut.jpg", quality=95)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(CODE, {})
        said = subprocess.run(
            [sys.executable, "-m", "deepfer", "astronaut.jpg"],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    example = {
        "code": CODE,
        "printed": printed.getvalue(),
        "command": "python -m deepfer astronaut.jpg",
        "said": said.stdout,
    }
    (DOCS / "example.json").write_text(json.dumps(example, indent=1) + "\n")
    print(json.dumps(example, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
