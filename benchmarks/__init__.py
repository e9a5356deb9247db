"""Measures this engine against the other ways to run the same weights; imports the product, never the reverse."""
