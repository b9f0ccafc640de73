"""Draw the page's icons and the image that link previews show: python -m ui.artwork."""

from __future__ import annotations

from pathlib import Path

import gradio
from PIL import Image, ImageDraw, ImageFont

from deepfer.drawing import STYLES

PUBLIC = Path(__file__).parent / "public"
FONTS = Path(gradio.__file__).parent / "templates" / "frontend" / "static" / "fonts" / "IBMPlexSans"
PREVIEW = (1200, 630)  # pixels, (width, height): what link previews expect
ICONS = (192, 512)  # pixels: the sizes that an installable page needs
SCALE = 4  # everything is drawn larger and scaled down, for smooth edges
INK, PAPER, SUBDUED = "#18181b", "#fafafa", "#52525b"
SKIN, SHADE, HAIR, LIPS, SHIRT, WALL = "#a9714b", "#8f5b3a", "#2a1d18", "#7f1d1d", "#3b5b8c", "#e2d4f0"


def draw_face(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float) -> None:
    """Draw a smiling face.

    Args:
        draw: The canvas.
        x: Of the face's centre, pixels.
        y: Of the face's centre, pixels.
        unit: Half of the face's width, pixels.
    """

    def at(*points: float) -> list[float]:
        return [(x, y)[i % 2] + unit * value for i, value in enumerate(points)]

    draw.ellipse(at(-1.55, 1.5, 1.55, 4.2), fill=SHIRT)
    draw.rounded_rectangle(at(-0.42, 0.7, 0.42, 1.75), 0.35 * unit, fill=SHADE)
    draw.ellipse(at(-1.17, -0.25, -0.83, 0.3), fill=SHADE)
    draw.ellipse(at(0.83, -0.25, 1.17, 0.3), fill=SHADE)
    draw.ellipse(at(-1.08, -1.48, 1.08, 0.6), fill=HAIR)
    draw.ellipse(at(-0.95, -1.2, 0.95, 1.25), fill=SKIN)
    draw.chord(at(-1.0, -1.42, 1.0, -0.1), 180, 360, fill=HAIR)
    for side in (-0.42, 0.42):
        draw.arc(at(side - 0.26, -0.5, side + 0.26, -0.1), 200, 340, fill=HAIR, width=round(0.075 * unit))
        draw.ellipse(at(side - 0.19, -0.2, side + 0.19, 0.06), fill="white")
        draw.ellipse(at(side - 0.1, -0.18, side + 0.1, 0.03), fill=INK)
    draw.arc(at(-0.16, 0.02, 0.16, 0.34), 20, 160, fill=SHADE, width=round(0.06 * unit))
    draw.chord(at(-0.55, 0.05, 0.55, 0.92), 15, 165, fill=LIPS)
    draw.chord(at(-0.49, 0.3, 0.49, 0.78), 15, 165, fill="white")


def draw_box(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], width: float) -> None:
    """Draw a face's box in the colour of "happy"."""
    draw.rounded_rectangle(box, 3 * width, outline=STYLES["happy"].hex, width=round(width))


def link_preview() -> Image.Image:
    """The image that link previews show: the name, what the page does, and a face with its box."""
    image = Image.new("RGB", (SCALE * PREVIEW[0], SCALE * PREVIEW[1]), PAPER)
    draw = ImageDraw.Draw(image)

    def text(x: int, y: int, words: str, size: int, colour: str, weight: str = "Regular") -> None:
        font = ImageFont.truetype(str(FONTS / f"IBMPlexSans-{weight}.woff2"), SCALE * size)
        draw.text((SCALE * x, SCALE * y), words, colour, font, anchor="ls")

    draw.rectangle([SCALE * 690, 0, SCALE * 1200, SCALE * 630], fill=WALL)
    draw_face(draw, SCALE * 945, SCALE * 320, SCALE * 150)
    draw_box(draw, (SCALE * 775, SCALE * 92, SCALE * 1115, SCALE * 520), SCALE * 8)
    draw.rounded_rectangle([SCALE * 771, SCALE * 44, SCALE * 962, SCALE * 104], SCALE * 12, fill=STYLES["happy"].hex)
    text(790, 88, "1  happy", 36, INK, "Bold")
    text(72, 270, "DeepFER", 116, INK, "Bold")
    text(76, 346, "Finds faces and estimates", 42, SUBDUED)
    text(76, 400, "the emotion each one shows", 42, SUBDUED)
    for i, style in enumerate(STYLES.values()):
        draw.rounded_rectangle([SCALE * (76 + 76 * i), SCALE * 460, SCALE * (136 + 76 * i), SCALE * 476], 30, style.hex)
    return image.resize(PREVIEW, Image.Resampling.LANCZOS)


def icon(side: int) -> Image.Image:
    """The icon: a face within its box. Systems may cut off a tenth at each edge."""
    whole = SCALE * side
    image = Image.new("RGB", (whole, whole), WALL)
    draw = ImageDraw.Draw(image)
    draw_face(draw, 0.5 * whole, 0.5 * whole, 0.22 * whole)
    draw_box(draw, (0.2 * whole, 0.13 * whole, 0.8 * whole, 0.84 * whole), 0.035 * whole)
    return image.resize((side, side), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the files into `ui/public`."""
    images = {"thumbnail.png": link_preview()} | {f"icon-{side}.png": icon(side) for side in ICONS}
    for name, image in images.items():
        image.quantize(256, dither=Image.Dither.NONE).save(PUBLIC / name, optimize=True)


if __name__ == "__main__":
    main()
