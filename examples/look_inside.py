"""Nothing is hidden: the plan, the gradients, the time of each step, a picture of the graph."""

import sys
import tempfile
from pathlib import Path

import graphnn as gn
from graphnn import ops, optim

with gn.Graph() as graph:
    images = gn.placeholder("images", (None, 784))
    labels = gn.placeholder("labels", (None,), "int32")
    logits = gn.nn.Sequential({"fc1": gn.nn.Linear(784, 32), "relu": gn.nn.ReLU(), "fc2": gn.nn.Linear(32, 10)})(images)
    loss = ops.cross_entropy(logits, labels)
    train = optim.SGD(0.1).minimize(loss)

executor = gn.Executor([loss], updates=train, max_batch=64)
print(executor.plan)

mnist = gn.data.mnist()
pixels = mnist.train_images[:64].reshape(64, 784).astype("float32") / 255
print(executor.profile({images: pixels, labels: mnist.train_labels[:64]}))

print("nodes that compute gradients:")
for node in graph.nodes:
    if node.grad_of is not None:
        print(f"  {node.name}  for {node.grad_of.name}  from {Path(node.source.file).name}:{node.source.line}")

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
gn.viz.export(executor, folder / "training.dot")
print("drawn in", folder / "training.dot")
