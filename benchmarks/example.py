"""Run the README's examples: annotate the astronaut, and record what Python and the command line print.

    python -m benchmarks.example

Writes `docs/astronaut.jpg` and `docs/example.json`; `make results` puts them into the README.
"""

from __future__ import annotations

import argparse
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
from deepfer import EmotionRecognizer

recognizer = EmotionRecognizer.from_pretrained()
for face in recognizer.recognize("astronaut.jpg"):
    print(face.emotion, f"{face.confidence:.0%}", face.box)
"""
COMMAND = "deepfer astronaut.jpg"


def example() -> dict[str, str]:
    """The code and the command with their output, run beside `astronaut.jpg`."""
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(astronaut()).save(Path(folder, "astronaut.jpg"), quality=95)

        def run(*arguments: str) -> str:
            return subprocess.run(
                [sys.executable, *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE, text=True, check=True,
            ).stdout  # fmt: skip

        # `deepfer` and `python -m deepfer` are the same program; only the first needs the package to be installed.
        return {"code": CODE, "printed": run("-c", CODE), "command": COMMAND, "said": run("-m", *COMMAND.split())}


def main() -> None:
    """Run the examples and write their files."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    photo = astronaut()
    faces = EmotionRecognizer.from_pretrained().recognize(photo)
    Image.fromarray(draw_faces(photo, faces)).save(DOCS / "astronaut.jpg", quality=92)
    text = json.dumps(example(), indent=1)
    (DOCS / "example.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
