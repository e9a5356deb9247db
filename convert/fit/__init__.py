"""Owns the verdict on a model and a device, on the command line: the twin of static/device/, number for number."""
