"""Owns the opt-in measurements: receipts are checked, stored once, summarized and exported."""
