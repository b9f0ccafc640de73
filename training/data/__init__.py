"""Datasets: loading them, finding near-duplicates, and drawing synthetic ones."""
