"""How well the detectors find faces: recall by face size, false boxes and time, on pictures with known boxes.

    python -m benchmarks.detection                     # YuNet from the Hub; writes benchmarks/detection.json
    python -m benchmarks.detection --yunet FILE.onnx   # the same, with a file of YuNet
    python -m benchmarks.detection --yunet FILE.onnx --pictures 2 --out /tmp/detection.json    # a quick trial

The images are made from a seed; nothing is downloaded. Faces: the astronaut Eileen Collins (NASA, public domain, from
`skimage.data`), mirrored, lit, blurred and grayed in many ways, and heads of
`training.data.synthetic_heads`. Our detector was trained on a few of them, though not on these, and never on the
astronaut: both are counted on their own. A
face's size is its height from hairline to chin, as YuNet boxes it. A third of the faces are turned by up to 45 degrees,
a tenth hang over the border by up to a fifth; in images of their own, all are turned by 46 to 180 degrees.
Backgrounds, with and without faces: public-domain textures and photographs of `skimage.data`, gradients, noise, text.

A face counts as found where a box overlaps its own with IoU >= 0.4 (Haar's boxes are squares: 0.5 would judge their
form and not their finds); every other box is false, a second one on the same face too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data

from benchmarks.speed import processor
from deepfer.detection import load_detector
from deepfer.face import Face, iou
from deepfer.recognizer import FRAME_SIDE
from training.data.synthetic_heads import Region, draw_head

OUT = Path(__file__).with_suffix(".json")
SEED = 20240
FACE_SIZES = (24, 32, 48, 96, 200)  # pixels from hairline to chin
PICTURE_SIZES = {"0.3": (640, 480), "1": (1152, 864), "2": (1632, 1224), "12": (4000, 3000)}  # by megapixels
ROLLED_SIZES = (32, 48, 96, 200)
FOUND_IOU = 0.4
TURNED, ROLLED = 15, 46  # degrees from which on a face counts as turned, and as turned far
# Public domain or CC0, each by its own note in skimage.data, and part of the installed package.
TEXTURES = ("brick", "grass", "gravel", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry")
FACELESS_ONLY = ("chelsea", "clock", "cell")  # a cat, the likeliest non-face of all; a clock; a round cell


@dataclass(frozen=True)
class Truth:
    """A face that was put into a picture."""

    box: Region
    size: int
    turn: float  # degrees
    over_border: bool
    drawn: bool


@dataclass(frozen=True)
class Picture:
    """A made picture and the faces in it."""

    megapixels: str
    image: np.ndarray
    faces: list[Truth]
    single_size: int | None  # of all faces; None where they differ, or where there is none


# --- faces ------------------------------------------------------------------------------------------------------------


def astronaut_head() -> tuple[np.ndarray, Region]:
    """The astronaut's head, cut out along an ellipse around hair and neck, in the same form."""
    x1, y1, x2, y2 = 93, 0, 353, 249
    patch = data.astronaut()[y1:y2, x1:x2].astype(np.float32)
    y, x = np.mgrid[y1:y2, x1:x2]
    ellipse = ((x - 223) / 62) ** 2 + ((y - 119) / 88) ** 2
    alpha = np.clip((1 - ellipse) / 0.15, 0, 1).astype(np.float32)
    return np.dstack([patch, alpha]), (178 - x1, 63 - y1, 268 - x1, 176 - y1)


def relight(head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same head in another light: brighter or darker, lit from a side, sometimes gray or out of focus."""
    rgb, alpha = head[..., :3], head[..., 3]
    rgb = 255 * (rgb / 255) ** rng.uniform(0.65, 1.5)
    rgb = rgb * (1 + rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, rgb.shape[1])[None, :, None])
    if rng.random() < 0.25:
        rgb = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.25:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(1, 3))
    return np.dstack([np.clip(rgb, 0, 255), alpha]).astype(np.float32)


def place(
    head: np.ndarray, face: Region, size: int, degrees: float, center: tuple[float, float], canvas: np.ndarray
) -> Region:
    """Paste a head with its face `size` pixels high, turned, centred at `center`; the turned face's own box."""
    scale = size / (face[3] - face[1])
    if scale < 1:  # a bilinear warp does not average: blur away what the small face cannot hold
        head = cv2.GaussianBlur(head, (0, 0), 0.4 / scale)
    middle = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    reach = math.ceil(scale * math.hypot(*head.shape[:2])) // 2 + 2
    left, top = math.floor(center[0]) - reach, math.floor(center[1]) - reach
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
    matrix[:, 2] += [center[0] - left - middle[0], center[1] - top - middle[1]]
    patch = cv2.warpAffine(head, matrix, (2 * reach, 2 * reach), flags=cv2.INTER_LINEAR)
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + 2 * reach, width), min(top + 2 * reach, height)
    patch = patch[y1 - top : y2 - top, x1 - left : x2 - left]
    under = canvas[y1:y2, x1:x2]
    alpha = patch[..., 3:]
    canvas[y1:y2, x1:x2] = (patch[..., :3] * alpha + under * (1 - alpha)).round().clip(0, 255).astype(np.uint8)
    half_height, half_width = size / 2, scale * (face[2] - face[0]) / 2
    angle = math.radians(degrees)  # the box around the turned ellipse of the face
    rx = math.hypot(half_width * math.cos(angle), half_height * math.sin(angle))
    ry = math.hypot(half_width * math.sin(angle), half_height * math.cos(angle))
    return max(center[0] - rx, 0), max(center[1] - ry, 0), min(center[0] + rx, width), min(center[1] + ry, height)


# --- pictures ---------------------------------------------------------------------------------------------------------


def texture(name: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One of skimage's pictures at a random scale, mirrored on until it fills `size`."""
    image = getattr(data, name)()
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])
    scale = rng.uniform(0.6, 1.6)
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    while image.shape[1] < size[0] or image.shape[0] < size[1]:
        image = np.block([[[image], [image[:, ::-1]]], [[image[::-1]], [image[::-1, ::-1]]]])
    x, y = rng.integers(0, image.shape[1] - size[0] + 1), rng.integers(0, image.shape[0] - size[1] + 1)
    return image[y : y + size[1], x : x + size[0]].copy()


def gradient(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A smooth passage between four random colours."""
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    return cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def noise(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Coloured noise of a random grain."""
    grain = rng.uniform(1, 12)
    coarse = math.ceil(size[0] / grain), math.ceil(size[1] / grain)
    values = rng.integers(0, 256, (coarse[1], coarse[0], 3), dtype=np.uint8)
    return cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)


def text(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Lines of random letters, in random colours and sizes."""
    image = np.full((size[1], size[0], 3), rng.integers(0, 256, 3), np.uint8)
    fonts = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX
    y = 0
    while y < size[1]:
        scale = rng.uniform(0.4, 2.5)
        y += round(32 * scale)
        line = "".join(chr(code) for code in rng.integers(33, 127, 400))
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.putText(image, line, (0, y), fonts[rng.integers(3)], scale, colour, max(1, round(1.5 * scale)), cv2.LINE_AA)
    return image


def background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What stands behind the faces: mostly textures and photographs, also gradients and noise."""
    kind = rng.random()
    if kind < 0.70:
        return texture(str(rng.choice(TEXTURES)), size, rng)
    return gradient(size, rng) if kind < 0.85 else noise(size, rng)


def finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera adds: a little blur, noise, and JPEG."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7))
    if rng.random() < 0.5:
        grain = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(grain, 0, rng.uniform(2, 8))
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 96))])[1]
    return cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def with_faces(megapixels: str, size: int | None, rng: np.random.Generator, rolled: bool = False) -> Picture:
    """A picture of one to six faces, all of `size` pixels, or of mixed sizes if it is None; turned far if `rolled`."""
    width, height = PICTURE_SIZES[megapixels]
    image, faces, taken = background((width, height), rng), [], []
    for _ in range(rng.integers(1, 7)):
        tall = int(size or rng.choice(FACE_SIZES))
        for _attempt in range(50):
            over_border = rng.random() < 0.1
            if over_border:  # at most a fifth of the face is cut off
                inside = rng.uniform(0.3, 0.5) * 0.8 * tall
                along_x, along_y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
                sides = (inside, along_y), (width - inside, along_y), (along_x, inside), (along_x, height - inside)
                center = sides[rng.integers(4)]
            else:
                margin = min(tall, min(width, height) // 2 - 1)
                center = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
            if all(math.dist(center, (x, y)) > 1.3 * (tall + their) for x, y, their in taken):
                break
        else:
            continue  # it is full
        drawn = bool(rng.random() < 0.5)
        head, face = draw_head(rng)[:2] if drawn else astronaut_head()
        if rng.random() < 0.5:
            head, face = head[:, ::-1], (head.shape[1] - face[2], face[1], head.shape[1] - face[0], face[3])
        if rolled:
            turn = rng.choice((-1, 1)) * rng.uniform(ROLLED, 180)
        else:
            turn = rng.uniform(-45, 45) if rng.random() < 1 / 3 else rng.uniform(-8, 8)
        box = place(relight(head, rng), face, tall, turn, center, image)
        faces.append(Truth(box, tall, turn, over_border, drawn))
        taken.append((*center, tall))
    return Picture(megapixels, finish(image, rng), faces, size)


def without_faces(megapixels: str, rng: np.random.Generator) -> Picture:
    """A picture of no face."""
    size = PICTURE_SIZES[megapixels]
    if rng.random() < 0.6:
        image = texture(str(rng.choice(TEXTURES + FACELESS_ONLY)), size, rng)
    else:
        image = (gradient, noise, text)[rng.integers(3)](size, rng)
    return Picture(megapixels, finish(image, rng), [], None)


def pictures(each: int, seed: int) -> Iterator[Picture]:
    """`each` for every image size and face size, a quarter of that at 12 megapixels, and `each` turned far."""
    number = 0
    for megapixels in PICTURE_SIZES:
        count = max(1, each // 4) if megapixels == "12" else each
        for size in (*FACE_SIZES, None):  # None: of mixed sizes
            for _ in range(count):
                yield with_faces(megapixels, size, np.random.default_rng([seed, number := number + 1]))
        for _ in range(2 * count):
            yield without_faces(megapixels, np.random.default_rng([seed, number := number + 1]))
    for size in ROLLED_SIZES:
        for _ in range(each):
            yield with_faces("1", size, np.random.default_rng([seed, number := number + 1]), rolled=True)


def make_folder(folder: Path, count: int, seed: int = SEED) -> tuple[Path, int]:
    """A new folder with so many pictures of 1 MP and faces of all sizes, and how many faces are in them."""
    folder.mkdir()
    faces = 0
    for number in range(count):
        picture = with_faces("1", None, np.random.default_rng([seed, number]))
        Image.fromarray(picture.image).save(folder / f"{number:05}.jpg", quality=92)
        faces += len(picture.faces)
    return folder, faces


# --- measurement ------------------------------------------------------------------------------------------------------


def match(found: list[Face], truth: list[Truth]) -> tuple[list[bool], int]:
    """Which faces were found, and how many boxes are false; every box counts for one face at most."""
    left = list(found)
    hits = []
    for face in truth:
        best = max(left, key=lambda other: iou(other.box, face.box), default=None)
        hits.append(best is not None and iou(best.box, face.box) >= FOUND_IOU)
        if hits[-1]:
            left.remove(best)
    return hits, len(left)


def measure(detectors: dict[str, Any], each: int, seed: int) -> dict[str, Any]:
    """The counts and times of every detector over all pictures."""
    # detector -> what is counted -> its outcomes
    outcomes: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in detectors}
    total = (3 * each + max(1, each // 4)) * (len(FACE_SIZES) + 3) + each * len(ROLLED_SIZES)
    for number, picture in enumerate(pictures(each, seed), 1):
        print(f"\r{number}/{total}", end="", file=sys.stderr)
        area = "12" if picture.megapixels == "12" else "up_to_2"
        for name, detector in detectors.items():
            start = time.perf_counter()
            found = detector.detect(picture.image)
            milliseconds = 1000 * (time.perf_counter() - start)
            hits, false = match(found, picture.faces)
            note = outcomes[name]
            if any(abs(face.turn) >= ROLLED for face in picture.faces):
                note["false/rolled/up_to_2"].append(false)
                note["recall/rolled/up_to_2"] += hits
                continue
            kind = "small_faces" if picture.faces else "faceless"
            if picture.single_size == max(FACE_SIZES):
                kind = "large_faces"
            note[f"ms/{kind}/{picture.megapixels}"].append(milliseconds)
            note[f"false/{'faces' if picture.faces else 'faceless'}/{area}"].append(false)
            for face, hit in zip(picture.faces, hits, strict=True):
                note[f"recall/{face.size}/{area}"].append(hit)
                if face.size < 32:
                    continue
                note[f"recall/32_and_above/{area}"].append(hit)
                note[f"recall/{'turned' if abs(face.turn) >= TURNED else 'upright'}/{area}"].append(hit)
                note[f"recall/{'drawn' if face.drawn else 'astronaut'}/{area}"].append(hit)
                if face.over_border:
                    note[f"recall/over_border/{area}"].append(hit)
    print(file=sys.stderr)
    return {
        name: {
            key: {"n": len(values), "median" if key.startswith("ms") else "mean": _average(key, values)}
            for key, values in sorted(note.items())
        }
        for name, note in outcomes.items()
    }


def time_one_face(detectors: dict[str, Any], seed: int, runs: int = 40) -> dict[str, dict[str, float]]:
    """Median milliseconds of each detector for a 640x480 image with one face, as a frame at 320 px and as a photo.

    The detectors take turns, so that whatever else the machine does slows all of them.
    """
    image = background(PICTURE_SIZES["0.3"], np.random.default_rng(seed))
    head, face = astronaut_head()
    place(head, face, 160, 0.0, (320.0, 240.0), image)
    calls = {
        name: {"frame": detector.for_frames(FRAME_SIDE).detect, "photo": detector.detect}
        for name, detector in detectors.items()
    }
    taken: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in calls}
    for _ in range(runs):
        for name, kinds in calls.items():
            for kind, detect in kinds.items():
                detect(image)  # for the network to take this size again
                start = time.perf_counter()
                detect(image)
                taken[name][kind].append(1000 * (time.perf_counter() - start))
    return {
        name: {kind: round(statistics.median(ms), 2) for kind, ms in kinds.items()} for name, kinds in taken.items()
    }


def _average(key: str, values: list[float]) -> float:
    return round(statistics.median(values), 1) if key.startswith("ms") else round(statistics.fmean(values), 4)


def markdown(result: dict[str, Any]) -> str:
    """The tables of `detection.json`."""
    titles = {"deepfer": "DeepFER", "yunet": "YuNet", "haar": "Haar"}
    areas = {"up_to_2": "0.3 to 2 MP", "12": "12 MP"}
    parts = [str(size) for size in FACE_SIZES] + [
        "32_and_above",
        "turned",
        "rolled",
        "astronaut",
        "drawn",
        "over_border",
    ]
    lines = [
        "| Faces found | images | "
        + " | ".join(f"{size} px" for size in FACE_SIZES)
        + f" | 32 px and above | of these turned {TURNED}–45° | turned {ROLLED}–180° | astronaut | drawn"
        " | over the border | false boxes per image with faces | … without |",
        "|---|---|" + "--:|" * (len(parts) + 2),
    ]
    for name, m in result["detectors"].items():
        for area, words in areas.items():
            recall = [m.get(f"recall/{part}/{area}") for part in parts]
            false = [m[f"false/{kind}/{area}"]["mean"] for kind in ("faces", "faceless")]
            cells = [f"{100 * value['mean']:.1f}%" if value else "–" for value in recall]
            lines.append(f"| {titles[name]} | {words} | {' | '.join(cells + [f'{value:.2f}' for value in false])} |")
    lines += [
        "",
        "| Median ms | faces of | " + " | ".join(f"{size} MP" for size in PICTURE_SIZES) + " |",
        "|---|---|" + "--:|" * len(PICTURE_SIZES),
    ]
    kinds = {"large_faces": f"{max(FACE_SIZES)} px", "small_faces": "mixed sizes and smaller", "faceless": "none"}
    for name, m in result["detectors"].items():
        for kind, words in kinds.items():
            cells = [f"{m[f'ms/{kind}/{size}']['median']:.0f}" for size in PICTURE_SIZES]
            lines.append(f"| {titles[name]} | {words} | {' | '.join(cells)} |")
    lines += [
        "",
        "| One thread, ms | 640x480 frame at 320 px | 640x480 photo |",
        "|---|--:|--:|",
        *(
            f"| {titles[name]} | {ms['frame']:.1f} | {ms['photo']:.1f} |"
            for name, ms in result["one_thread_ms"].items()
        ),
    ]
    made = f"{result['pictures']} images with {result['faces']} faces, made from seed {result['seed']}"
    lines += ["", f"{made}. {result['processor']}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yunet", default="yunet", help="YuNet's .onnx file (default: from the Hub or its cache)")
    parser.add_argument("--detector", default="deepfer", help="another of ours: a checkpoint folder")
    parser.add_argument("--pictures", type=int, default=20, help="pictures for each picture size and face size")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    parser.add_argument("--threads", type=int, default=2, help="of each detector (default: 2)")
    parser.add_argument("--out", type=Path, default=OUT, help="default: benchmarks/detection.json")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    sources = {"deepfer": args.detector, "yunet": args.yunet, "haar": "haar"}
    load = os.getloadavg()[0]
    outcomes = measure({name: load_detector(source) for name, source in sources.items()}, args.pictures, args.seed)
    cv2.setNumThreads(1)
    one_thread = time_one_face({name: load_detector(source) for name, source in sources.items()}, args.seed)
    counts = {key: value["n"] for key, value in outcomes["haar"].items()}
    result = {
        "seed": args.seed,
        "pictures": sum(n for key, n in counts.items() if key.startswith("false/")),
        "faces": sum(
            n for key, n in counts.items() if key.split("/")[1] in (*map(str, FACE_SIZES), "rolled") and "recall" in key
        ),
        "processor": f"{processor()}; OpenCV {cv2.__version__}, {args.threads} threads, load average {load:.1f} before",
        "one_thread_ms": one_thread,
        "detectors": outcomes,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
