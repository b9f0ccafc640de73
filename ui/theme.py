"""The page's theme: neutral, so that the only colours are those of the emotions."""

from pathlib import Path

import gradio as gr

CSS = [Path(__file__).parent / "styles" / f"{part}.css" for part in ("page", "cards", "video", "model")]

# Gradio ships IBM Plex, so nothing is fetched from a font service.
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.zinc,
    secondary_hue=gr.themes.colors.zinc,
    neutral_hue=gr.themes.colors.zinc,
    radius_size=gr.themes.sizes.radius_lg,
    font=[gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    body_text_color_subdued="*neutral_600",  # the default, neutral_400, is too pale to read on white
    body_text_color_subdued_dark="*neutral_400",
    block_background_fill="white",
    block_background_fill_dark="*neutral_900",
    block_border_width="1px",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    checkbox_background_color_selected="*neutral_900",
    checkbox_background_color_selected_dark="*neutral_600",  # its tick is white
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
)
