"""The command line: thin commands, one per file, imported as ``plastikit.cli``."""

if __name__ != "plastikit.cli":
    raise ImportError(f"imported as {__name__!r}, where its classes would be doubles: import plastikit.cli instead")
