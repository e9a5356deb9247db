"""The ceilings: the same weights without a browser, each runtime in a process of its own."""
