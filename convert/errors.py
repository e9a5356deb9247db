"""Owns the errors that reach a user: each is one sentence with what was found, what was expected and what to do."""


class FeatherweightError(Exception):
    """Base of every error that the command line prints as one line and answers with exit code 1."""


class BadCheckpoint(FeatherweightError):
    """A source file is damaged, hostile or incomplete."""


class UnsupportedModel(FeatherweightError):
    """The source is sound, but its architecture, format or option is not supported."""


class SourceNotFound(FeatherweightError):
    """The source names nothing that can be opened or downloaded."""


class BadModelDirectory(FeatherweightError):
    """A converted model directory is missing, damaged or does not match its manifest."""


class OutputFailed(FeatherweightError):
    """The output could not be written (disk full, no permission, name taken)."""


NOT_FINITE = "a weight is NaN or infinite; fetch the checkpoint again, or take such weights as 0 with --allow-nonfinite"
"""What is wrong with a tensor; it follows the tensor's name."""
