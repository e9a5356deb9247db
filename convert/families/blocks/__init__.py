"""Holds the small subgraphs that model families are made of."""
