"""Conversion: Keras files in, calibrated LiteRT files out."""
