"""One plan serves every batch size up to the largest: the last, smaller batch of an epoch needs nothing special."""

import numpy as np

import graphnn as gn

with gn.Graph():
    images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
    digits = gn.models.lenet()(images).argmax(axis=1)

executor = gn.Executor(digits, max_batch=100)
test_images = gn.data.mnist().test_images

whole = executor.run({images: test_images[:100]})
parts = [executor.run({images: test_images[start:stop]}) for start, stop in ((0, 37), (37, 99), (99, 100))]
print("one batch of 100 and batches of 37, 62 and 1 agree:", np.array_equal(whole, np.concatenate(parts)))
assert np.array_equal(whole, np.concatenate(parts))
