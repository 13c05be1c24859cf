from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from graphnn.data import DataError, from_torchvision


class Pictures:
    """A data set in torchvision's manner: items are made as they are asked for."""

    def __init__(self, image: Callable[[int], Any], count: int = 3, label: Callable[[int], Any] = int) -> None:
        self.image, self.count, self.label = image, count, label

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.image(index), self.label(index)


def pixels(*shape: int, dtype: str = "uint8", add: int = 0) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) % 200 + add).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize(("shape", "axes"), [((4, 5), None), ((4, 5, 1), (2, 0, 1)), ((4, 5, 3), (2, 0, 1))])
def test_arrays(shape: tuple[int, ...], axes: tuple[int, ...] | None, dtype: str) -> None:
    images, labels = from_torchvision(Pictures(lambda i: pixels(*shape, dtype=dtype, add=i)))

    assert images.dtype == dtype
    assert labels.dtype == np.int32
    assert images.flags.c_contiguous
    assert labels.tolist() == [0, 1, 2]
    for i, image in enumerate(images):
        plain = pixels(*shape, dtype=dtype, add=i)
        np.testing.assert_array_equal(image, plain[None] if axes is None else plain.transpose(axes))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("F", 1)])
def test_pil_images(mode: str, channels: int) -> None:
    pil = pytest.importorskip("PIL.Image")
    image = pil.fromarray(pixels(4, 5, 3)).convert(mode)

    images, _ = from_torchvision(Pictures(lambda _: image, count=2))

    assert images.shape == (2, channels, 4, 5)
    assert images.dtype == (np.float32 if mode == "F" else np.uint8)
    np.testing.assert_array_equal(images[1].transpose(1, 2, 0), np.asarray(image).reshape(4, 5, channels))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_tensors(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    label = torch.tensor(7)

    images, labels = from_torchvision(
        Pictures(lambda i: torch.from_numpy(pixels(3, 4, 5, dtype=dtype, add=i)), label=lambda _: label)
    )

    assert images.dtype == dtype
    np.testing.assert_array_equal(images[2], pixels(3, 4, 5, dtype=dtype, add=2))
    assert labels.tolist() == [7, 7, 7]
    flat, _ = from_torchvision([(torch.ones(4, 5, requires_grad=True), 0)])
    np.testing.assert_array_equal(flat, np.ones((1, 1, 4, 5), np.float32))


@pytest.mark.parametrize("label", [5, np.int64(5), np.uint8(5), np.array(5), True, 2**31 - 1, -(2**31)])
def test_labels(label: Any) -> None:
    _, labels = from_torchvision([(pixels(2, 2), label)])

    assert labels.tolist() == [int(label)]


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import torchvision, also one that was built for another PyTorch: its own ops, which nothing here needs, lack."""
    torch = pytest.importorskip("torch")
    register = torch.library.register_fake

    def register_known(op: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return register(op, *arguments, **options)

    monkeypatch.setattr(torch.library, "register_fake", register_known)
    return pytest.importorskip("torchvision", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")  # torchvision's own
def test_data_sets_of_torchvision(torchvision: Any) -> None:
    raw = torchvision.datasets.FakeData(size=4, image_size=(3, 8, 9), num_classes=5)
    scaled = torchvision.datasets.FakeData(
        size=4, image_size=(3, 8, 9), num_classes=5, transform=torchvision.transforms.ToTensor()
    )

    images, labels = from_torchvision(raw)
    floats, same_labels = from_torchvision(scaled)

    assert images.shape == floats.shape == (4, 3, 8, 9)
    assert images.dtype == np.uint8
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(labels, [int(label) for _, label in raw])
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_allclose(floats, images / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(images[3].transpose(1, 2, 0), np.asarray(raw[3][0]))


def test_trains_as_the_bundled_data_does() -> None:
    import graphnn as gn

    images, labels = from_torchvision(Pictures(lambda i: pixels(28, 28, add=i), count=5))
    with gn.Graph():
        x, y = gn.placeholder("images", (None, 1, 28, 28), "uint8"), gn.placeholder("labels", (None,), "int32")
        logits = gn.models.pure_linear()(x)
        loss = gn.ops.cross_entropy(logits, y)
    trainer = gn.Trainer(loss, logits, inputs=x, labels=y, optimizer=gn.optim.SGD(0.1), batch_size=2, device="numpy")

    (row,) = trainer.fit((images, labels), (images, labels))

    assert np.isfinite(row.train_loss)


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    from_torchvision(Pictures(lambda _: pixels(2, 2), count=7))

    output, errors = capsys.readouterr()
    assert output == ""
    assert "reading the data set" in errors
    assert "7/7" in errors


@pytest.mark.parametrize(
    "other", [pixels(4, 6, 3), pixels(4, 5), pixels(4, 5, 3, dtype="float32")], ids=["shape", "axes", "dtype"]
)
def test_refuses_images_that_differ(other: np.ndarray) -> None:
    with pytest.raises(DataError, match="images of the data set differ: item 2") as caught:
        from_torchvision(Pictures(lambda i: other if i == 2 else pixels(4, 5, 3)))

    assert caught.value.expected == "uint8 (3, 4, 5) (channels, height, width), as item 0"
    assert str(other.dtype) in caught.value.actual
    assert "Resize" in caught.value.hint
    assert "from_torchvision(" in caught.value.where


def palette_image() -> Any:
    return pytest.importorskip("PIL.Image").fromarray(pixels(4, 5, 3)).convert("P")


@pytest.mark.parametrize(
    ("item", "expected", "actual"),
    [
        (lambda: pixels(4, 5), "a pair of an image and a label", "ndarray"),
        (lambda: (pixels(4, 5), 1, 2), "a pair of an image and a label", "tuple"),
        (lambda: (pixels(4, 5), 1.5), "a label that is an integer", "1.5"),
        (lambda: (pixels(4, 5), {"boxes": []}), "a label that is an integer", "boxes"),
        (lambda: (pixels(4, 5), 2**31), "a label that is an integer of 32 bits", "2147483648"),
        (lambda: (pixels(4, 5, dtype="int64"), 1), "uint8 or floating", "int64 of shape (4, 5)"),
        (lambda: (pixels(2, 3, 4, 5), 1), "two or three axes", "uint8 of shape (2, 3, 4, 5)"),
        (lambda: ("cat.png", 1), "uint8 or floating", "str"),
        (lambda: ([[1, 2], [3]], 1), "a PIL image, an array or a tensor", "list"),
        (lambda: (palette_image(), 1), "an image of pixels", "palette"),
    ],
)
def test_refuses_other_items(item: Callable[[], Any], expected: str, actual: str) -> None:
    with pytest.raises(DataError, match="item 1 of the data set is no labelled image") as caught:
        from_torchvision([(pixels(4, 5), 0), item()])

    assert expected in caught.value.expected
    assert actual in caught.value.actual
    assert caught.value.hint
    assert "from_torchvision(" in caught.value.where


@pytest.mark.parametrize(
    ("dataset", "reason"), [([], "is empty"), (iter([(pixels(4, 5), 0)]), "can't be read item by item")]
)
def test_refuses_other_data_sets(dataset: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        from_torchvision(dataset)


def test_errors_of_the_data_set_pass() -> None:
    def fail(index: int) -> Any:
        raise OSError(f"no file {index}")

    with pytest.raises(OSError, match="no file 0"):
        from_torchvision(Pictures(fail))
