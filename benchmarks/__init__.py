"""Benchmarks of the browser half."""
