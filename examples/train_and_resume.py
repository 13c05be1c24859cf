"""A training that stops in the middle of an epoch and goes on as if it had not: the weights are the same to the bit.

`graphnn train examples/train_and_resume.py:build` trains the same network from the command line.
"""

import sys
import tempfile

import graphnn as gn
from graphnn.trainer import Callback, Log, Phase


def build() -> tuple[gn.Node, gn.Node, gn.Node, gn.Node]:
    """Build a network with sigmoids in the graph that is open, and return what a training needs of it."""
    images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
    labels = gn.placeholder("labels", (None,), "int32")
    logits = gn.models.mnist_cnn(activation="sigmoid")(images)
    return images, labels, gn.ops.cross_entropy(logits, labels), logits


def new_trainer() -> gn.Trainer:
    """Return a trainer as in a new process: with first weights, and no memory of an earlier one."""
    with gn.Graph(seed=0):
        images, labels, loss, logits = build()
    adam = gn.optim.Adam(gn.optim.schedules.one_cycle(0.01, total_steps=120))
    return gn.Trainer(loss, logits, inputs=images, labels=labels, optimizer=adam, batch_size=50)


class PowerCut(Callback):
    """Ends the training after a few batches, as Ctrl-C would."""

    def on_batch(self, trainer: gn.Trainer, phase: Phase, done: int, total: int) -> None:
        """Count."""
        if trainer.place.steps == 70:
            raise KeyboardInterrupt


digits = gn.data.mnist()
train = digits.train_images[:2000], digits.train_labels[:2000]
test = digits.test_images[:1000], digits.test_labels[:1000]

if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    whole = new_trainer()
    whole.fit(train, test, epochs=3)

    try:
        new_trainer().fit(train, test, epochs=3, checkpoint=folder, callbacks=[PowerCut()])
    except KeyboardInterrupt:
        print("stopped in the middle of epoch 2")
    resumed = new_trainer()
    resumed.fit(train, test, epochs=3, checkpoint=folder, resume=True, callbacks=[Log()])

    for name in whole.graph.variables:
        assert (resumed.graph.get_value(name) == whole.graph.get_value(name)).all()
    print("the same weights as without the stop")
