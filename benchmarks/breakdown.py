"""Measure where the time goes, from the bytes of a JPEG to the annotated JPEG, for a video frame and for photos.

    python -m benchmarks.breakdown [--detector yunet]

Also compare the classifier's multiplications per second on one core with those of a plain matrix product in the same
runtime and number format. Writes `benchmarks/breakdown.json` and `docs/breakdown.png`.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import deepfer.face_search
from benchmarks.images import crowd, portrait
from benchmarks.speed import measured_on, milliseconds, processor
from deepfer import EmotionClassifier, EmotionRecognizer, draw_faces, read_image
from deepfer.checkpoint import resolve
from deepfer.image_io import write_image
from training.report.markdown import table

OUT = Path(__file__).with_suffix(".json")
CHART = Path(__file__).parents[1] / "docs" / "breakdown.png"
PARTS = ("decode", "resize", "detect", "align", "classify", "draw", "encode", "the rest")
IMAGES: dict[str, tuple[bool, Callable[[], np.ndarray]]] = {  # name -> (is it a video frame?, how to make it)
    "frame, 640x480, 1 face": (True, portrait),
    "photo, 640x480, 1 face": (False, portrait),
    "photo, 12 MP, 4 faces": (False, lambda: crowd(4, (4000, 3000))),
}
SIDE, ROWS = 1024, 128  # size of the matrix product: its weights fit into a core's cache and are reused often


@contextmanager
def timed(owner: Any, name: str, note: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds spent in a function or method to `note[part]`."""
    own = getattr(owner, name)

    def measured(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return own(*args, **options)
        finally:
            note[part] += time.perf_counter() - start

    setattr(owner, name, measured)
    try:
        yield
    finally:
        setattr(owner, name, own)


def once(recognizer: EmotionRecognizer, jpeg: bytes, folder: Path) -> dict[str, float]:
    """Milliseconds of each step for one image."""
    note: dict[str, float] = defaultdict(float)
    start = time.perf_counter()
    with (
        timed(deepfer.face_search, "warp", note, "resize"),
        timed(type(recognizer.detector), "detect", note, "detect"),
        timed(EmotionRecognizer, "_crop", note, "align"),
        timed(EmotionClassifier, "predict", note, "classify"),
    ):
        rgb = read_image(jpeg)
        note["decode"] = time.perf_counter() - start
        faces = recognizer.recognize(rgb)
    drawing = time.perf_counter()
    annotated = draw_faces(rgb, faces)
    encoding = time.perf_counter()
    write_image(folder / "annotated.jpg", annotated)
    end = time.perf_counter()
    note |= {"draw": encoding - drawing, "encode": end - encoding}
    note["detect"] -= note["resize"]  # resizing is part of detection
    note["the rest"] = end - start - sum(note.values())
    return {part: 1000 * note[part] for part in PARTS}


def parts(recognizer: EmotionRecognizer, image: np.ndarray, runs: int) -> dict[str, float]:
    """Median milliseconds of each step."""
    jpeg = BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=92)
    with tempfile.TemporaryDirectory() as folder:
        taken = [once(recognizer, jpeg.getvalue(), Path(folder)) for _ in range(runs + 1)][1:]
    return {part: statistics.median(run[part] for run in taken) for part in PARTS}


def interpreter(model: bytes, **options: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_content=model, num_threads=1, **options)
    made.allocate_tensors()
    return made


def multiplications(model: bytes) -> int:
    """Multiplications of one forward pass: those of all convolutions and matrix products."""
    from ai_edge_litert.interpreter import OpResolverType

    # Without delegates, which would hide the operations that they replace.
    plain = interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    shapes = {tensor["index"]: [int(n) for n in tensor["shape"]] for tensor in plain.get_tensor_details()}
    count = 0
    for operation in plain._get_ops_details():
        kind, outputs = operation["op_name"], math.prod(shapes[operation["outputs"][0]])
        if kind in ("CONV_2D", "FULLY_CONNECTED"):  # weights (out, …, in)
            count += outputs * math.prod(shapes[operation["inputs"][1]][1:])
        elif kind == "DEPTHWISE_CONV_2D":  # weights (1, height, width, channels)
            count += outputs * math.prod(shapes[operation["inputs"][1]][1:3])
    return count


def matrix_product() -> bytes:
    """A LiteRT model of one matrix product, quantized like our models."""
    import keras

    from training.convert.litert import to_litert

    inputs = keras.Input((SIDE,), batch_size=ROWS)
    return to_litert(keras.Model(inputs, keras.layers.Dense(SIDE)(inputs)), quantize=True)


def peak(runs: int) -> dict[str, float]:
    """Billions of multiplications per second on one core, of the classifier and of the matrix product."""
    classifier = EmotionClassifier(resolve(None))
    size = classifier.input_size
    crops = np.random.default_rng(0).integers(0, 256, (1, size, size), dtype=np.uint8)
    product = matrix_product()
    bare = interpreter(product)
    bare.set_tensor(bare.get_input_details()[0]["index"], np.random.default_rng(0).random((ROWS, SIDE), np.float32))
    taken = milliseconds({"classifier": lambda: classifier.predict(crops), "product": bare.invoke}, runs)
    own = multiplications(classifier.checkpoint.model_file.read_bytes())
    return {
        "multiplications": own,
        "classifier_ms": taken["classifier"],
        "classifier_giga_per_s": own / taken["classifier"] / 1e6,
        "product_giga_per_s": multiplications(product) / taken["product"] / 1e6,
    }


def markdown(result: dict[str, Any]) -> str:
    """The table of `breakdown.json`, and how well the classifier uses a core."""
    rows = [(name, *(f"{ms[part]:.1f}" for part in PARTS), f"{sum(ms.values()):.1f}") for name, ms in _images(result)]
    m = result["peak"]
    share = m["classifier_giga_per_s"] / m["product_giga_per_s"]
    return (
        table(("ms", *PARTS, "total"), rows)
        + f"\n\nThe classifier's {m['multiplications'] / 1e6:.0f} million multiplications take "
        f"{m['classifier_ms']:.2f} ms on one core. That is {m['classifier_giga_per_s']:.0f} billion per second, "
        f"{100 * share:.0f}% of the {m['product_giga_per_s']:.0f} billion that a plain matrix product reaches in the "
        f"same runtime ({ROWS}x{SIDE} by {SIDE}x{SIDE}, int8 weights). {measured_on(result)}."
    )


def chart(result: dict[str, Any], path: Path) -> None:
    """A panel of bars for each image."""
    from training.report import plots
    from training.report.plots import plt

    figure, panels = plt.subplots(1, len(IMAGES), figsize=(11, 3.2), squeeze=False)
    for column, (axes, (name, ms)) in enumerate(zip(panels[0], _images(result), strict=True)):
        axes.barh(range(len(PARTS)), [ms[part] for part in PARTS], 0.72, color=plots.ACCENT)
        for row, part in enumerate(PARTS):
            axes.text(ms[part], row, f" {ms[part]:.1f}", va="center", fontsize=8, color=plots.INK)
        axes.set_yticks(range(len(PARTS)), PARTS if column == 0 else [""] * len(PARTS))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.18)
        axes.set(xlabel="ms")
        axes.set_title(f"{name}: {sum(ms.values()):.0f} ms", fontsize=10)
    figure.tight_layout()
    plots.save(figure, path)


def _images(result: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return list(result["pictures_ms"].items())


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--detector", default="auto", help="as for `python -m deepfer` (default: our own)")
    add("--runs", type=int, default=100, help="default: 100; a tenth of it for large photos")
    add("--out", type=Path, default=OUT)
    add("--chart", type=Path, default=CHART)
    args = parser.parse_args(argv)
    recognizer = EmotionRecognizer.from_pretrained(detector=args.detector)
    frames = recognizer.for_frames()
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "detector": recognizer.detector_name,
        "pictures_ms": {
            name: parts(frames if frame else recognizer, make(), max(1, args.runs // (10 if "MP" in name else 1)))
            for name, (frame, make) in IMAGES.items()
        },
        "peak": peak(args.runs),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    chart(result, args.chart)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
