"""The compiler: a graph goes in, an execution plan comes out."""

from __future__ import annotations

if __name__ != "graphnn.compiler":
    raise ImportError("import this package as graphnn.compiler: under another name its classes would exist twice")
