"""Predictions held against measurements: the verdict before the download, and what the same page then measures."""
