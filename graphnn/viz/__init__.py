"""Pictures: graphs and plans as Graphviz text or JSON, and the curves of a training."""

from graphnn.viz.curves import plot_history
from graphnn.viz.exporting import export

__all__ = ["export", "plot_history"]
