"""The command line: ``graphnn train``, ``graphnn plan``, ``graphnn show``, ``graphnn doctor``.

Its modules import nothing heavy before a command runs, so that ``graphnn --help`` answers at once.
"""

from graphnn.cli.group import main

__all__ = ["main"]
