"""Metrics, plots and image grids."""
