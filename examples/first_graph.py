"""Define a graph, look at what it will cost, train it for a few steps."""

import graphnn as gn
from graphnn import ops, optim

with gn.Graph(seed=0) as graph:
    images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
    labels = gn.placeholder("labels", (None,), "int32")
    logits = gn.models.lenet()(images)
    loss = ops.cross_entropy(logits, labels)
    train = optim.Adam(0.002).minimize(loss)

executor = gn.Executor([loss], updates=train, max_batch=100)
print(f"{executor.plan.arena_bytes:,} bytes and {executor.plan.flops:,} FLOP a step, known before the first one")

mnist = gn.data.mnist()
for step in range(100):
    batch = slice(100 * step, 100 * (step + 1))
    (value,) = executor.run({images: mnist.train_images[batch], labels: mnist.train_labels[batch]})
    if step % 20 == 19:
        print(f"step {step + 1}: loss {value:.3f}")
