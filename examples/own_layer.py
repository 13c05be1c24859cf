"""A layer of one's own: attributes that are layers give the variables their names, as in PyTorch."""

import graphnn as gn
from graphnn import nn, ops


class Residual(nn.Module):
    """``x + conv2(relu(conv1(x)))``."""

    def __init__(self, channels: int) -> None:
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: gn.Node) -> gn.Node:
        """Add what two convolutions make of `x`."""
        return x + self.conv2(ops.relu(self.conv1(x)))


with gn.Graph() as graph:
    images = gn.placeholder("images", (None, 8, 16, 16))
    block = Residual(8)
    twice = block(block(images))  # the second call uses the same weights

print(twice)
print(*graph.variables, sep="\n")
