"""The passes over the first form: each takes a `Subgraph` and returns a better one that means the same."""
