"""The page: a file for each tab, what they share, and the checks in front of Gradio's server."""
