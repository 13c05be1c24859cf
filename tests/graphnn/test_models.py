from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import models, ops

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "pure_linear": {"fc1": (100, 784), "fc2": (10, 100)},
    "simple_conv": {"conv1": (8, 1, 5, 5), "fc1": (100, 1568), "fc2": (10, 100)},
    "lenet": {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84)},
    "mnist_cnn": {"conv1": (4, 1, 3, 3), "conv2": (8, 4, 3, 3), "fc1": (100, 392), "fc2": (10, 100)},
}
ALL: list[tuple[str, dict[str, str]]] = [("pure_linear", {}), ("simple_conv", {}), ("lenet", {}), ("mnist_cnn", {})] + [
    ("mnist_cnn", {"activation": activation}) for activation in ("sigmoid", "tanh")
]


def build(name: str, options: dict[str, str]) -> Any:
    return getattr(models, name)(**options)


def pixels(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)


def twin_of(torch: Any, name: str, activation: str = "relu") -> Any:
    """Return the same network, written down a second time in PyTorch."""
    nn = torch.nn
    act = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[activation]
    layers: dict[str, list[tuple[str, Any]]] = {
        "pure_linear": [
            ("flat", nn.Flatten()), ("fc1", nn.Linear(784, 100)), ("a", act()), ("fc2", nn.Linear(100, 10)),
        ],
        "simple_conv": [
            ("conv1", nn.Conv2d(1, 8, 5, padding=2)), ("a", act()), ("pool", nn.MaxPool2d(2)), ("flat", nn.Flatten()),
            ("fc1", nn.Linear(1568, 100)), ("b", act()), ("fc2", nn.Linear(100, 10)),
        ],
        "lenet": [
            ("conv1", nn.Conv2d(1, 6, 5, padding=2)), ("a", act()), ("pool1", nn.MaxPool2d(2)),
            ("conv2", nn.Conv2d(6, 16, 5)), ("b", act()), ("pool2", nn.MaxPool2d(2)), ("flat", nn.Flatten()),
            ("fc1", nn.Linear(400, 120)), ("c", act()), ("fc2", nn.Linear(120, 84)), ("d", act()),
            ("fc3", nn.Linear(84, 10)),
        ],
        "mnist_cnn": [
            ("conv1", nn.Conv2d(1, 4, 3, padding=1)), ("a", act()), ("pool1", nn.MaxPool2d(2)),
            ("conv2", nn.Conv2d(4, 8, 3, padding=1)), ("b", act()), ("pool2", nn.MaxPool2d(2)), ("flat", nn.Flatten()),
            ("fc1", nn.Linear(392, 100)), ("c", act()), ("fc2", nn.Linear(100, 10)),
        ],
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers[name]))


@pytest.mark.parametrize(("name", "options"), ALL)
def test_logits_loss_and_every_gradient_are_those_of_pytorch(name: str, options: dict[str, str]) -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    images, labels = pixels(), np.array([3, 0, 9, 1, 1], np.int32)
    with gn.Graph(seed=4) as graph:
        x = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        y = gn.placeholder("labels", (None,), "int32")
        logits = build(name, options)(x)
        loss = ops.cross_entropy(logits, y)
        slopes = gn.gradients(loss, list(graph.variables.values()))
    twin = twin_of(torch, name, **options)
    parameters = dict(twin.named_parameters())
    assert list(parameters) == list(graph.variables)
    for key, parameter in parameters.items():
        parameter.data = torch.tensor(graph.get_value(key))
    expected = twin(torch.tensor(images).float() / 255)
    expected_loss = torch.nn.functional.cross_entropy(expected, torch.tensor(labels).long())
    expected_slopes = torch.autograd.grad(expected_loss, list(parameters.values()))

    executor = gn.Executor([logits, loss, *slopes], device="numpy", max_batch=8)
    actual, actual_loss, *actual_slopes = executor.run({x: images, y: labels})

    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(actual_loss, expected_loss.detach().numpy(), rtol=1e-6)
    for ours, theirs in zip(actual_slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_variables_are_those_of_the_design(name: str) -> None:
    with gn.Graph() as graph:
        logits = build(name, {})(gn.placeholder("images", (None, 1, 28, 28), "uint8"))

    assert str(logits.spec) == "float32 (N, 10)"
    expected: dict[str, tuple[int, ...]] = {}
    for layer, shape in SHAPES[name].items():
        expected |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    assert {key: node.shape for key, node in graph.variables.items()} == expected


def test_pixels_become_numbers_from_0_to_1_and_floats_stay() -> None:
    images = pixels()
    scaled = images.astype(np.float32) / np.float32(255)
    model = models.lenet()
    with gn.Graph(seed=0):
        bytes_, floats = (gn.placeholder(dtype, (None, 1, 28, 28), dtype) for dtype in ("uint8", "float32"))
        both = gn.Executor([model(bytes_), model(floats)], device="numpy", max_batch=5)

    from_bytes, from_floats = both.run({bytes_: images, floats: scaled})

    assert np.array_equal(from_bytes, from_floats)


def test_other_integers_are_refused() -> None:
    with gn.Graph():
        images = gn.placeholder("images", (None, 1, 28, 28), "int32")
        with pytest.raises(gn.DTypeError, match=r"neither uint8 nor floating(.|\n)*'images'(.|\n)*test_models\.py"):
            models.lenet()(images)


def test_pure_linear_also_takes_vectors() -> None:
    with gn.Graph():
        assert models.pure_linear()(gn.placeholder("images", (None, 784))).shape[1:] == (10,)


def test_images_of_another_size_are_named_where_they_stop_fitting() -> None:
    with gn.Graph():
        images = gn.placeholder("images", (None, 1, 32, 32), "uint8")
        with pytest.raises(gn.ShapeError, match=r"Linear 'fc1' can't take this input\n  expected: in_features = 400"):
            models.lenet()(images)


def test_a_second_instance_gets_a_number_and_a_name_a_scope() -> None:
    with gn.Graph() as graph:
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        for model in (models.simple_conv(), models.simple_conv(), models.simple_conv(name="teacher")):
            model(images)

    assert [name for name in graph.variables if name.endswith("conv1.weight") or "_1.bias" in name] == [
        "conv1.weight",
        "conv1_1.bias",
        "fc1_1.bias",
        "fc2_1.bias",
        "teacher.conv1.weight",
    ]


def test_activation_is_one_of_those_there_are() -> None:
    with pytest.raises(gn.GraphError, match=r"no activation 'gelu'\n  expected: one of relu, sigmoid, tanh"):
        models.mnist_cnn(activation="gelu")


def test_the_registry_names_all_models() -> None:
    assert set(models.MODELS) == set(SHAPES)
    for name, entry in models.MODELS.items():
        assert entry.build is getattr(models, name)
        assert 10 < len(entry.description) < 80


@pytest.mark.parametrize("name", SHAPES)
def test_training_makes_the_loss_smaller(name: str) -> None:
    labels = np.arange(20, dtype=np.int32) % 10
    images = np.zeros((20, 1, 28, 28), np.uint8)
    images[np.arange(20), 0, 2 * labels + 3] = 255  # a bright line whose height tells the class
    with gn.Graph(seed=0):
        x = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        y = gn.placeholder("labels", (None,), "int32")
        loss = ops.cross_entropy(models.MODELS[name].build()(x), y)
        train = gn.optim.Adam(0.01).minimize(loss)
    executor = gn.Executor(loss, updates=train, device="numpy", max_batch=20)

    losses = [float(executor.run({x: images, y: labels})) for _ in range(30)]

    assert losses[-1] < 0.5 * losses[0]
