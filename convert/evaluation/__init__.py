"""Measures what a variant can do, and how near it stays to another variant or to the checkpoint it was made from."""
