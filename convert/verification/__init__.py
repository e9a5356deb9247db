"""Checks a model directory from its hashes to one real run of every variant, and reports every problem it finds."""
