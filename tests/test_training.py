"""fit, evaluate, predict, callbacks and metrics on models small enough to check by hand."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn import random
from fastnn.autograd import is_grad_enabled
from fastnn.metrics import accuracy
from fastnn.nn.container import Sequential
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, Parameter
from fastnn.optim import SGD, Adam
from fastnn.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau
from fastnn.training import (
    Callback,
    EarlyStopping,
    History,
    LRSchedule,
    ModelCheckpoint,
    evaluate,
    fit,
    predict,
)


class Line(Module):
    """``a * x + b``; remembers the modes and the batch sizes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Parameter(np.zeros(1))
        self.b = Parameter(np.zeros(1))
        self.calls: list[tuple[bool, bool, int]] = []

    def forward(self, input: np.ndarray) -> object:
        self.calls.append((self.training, is_grad_enabled(), len(input)))
        return input * self.a + self.b


def squared(prediction: object, target: np.ndarray) -> object:
    return ((prediction - target) ** 2).mean()


def data(n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(-1, 1, n)
    return x, 3 * x + 1


OPTIONS = {"loss": squared, "epochs": 2, "batch_size": 4, "progress": False}


def test_fit_learns_a_line() -> None:
    model, (x, y) = Line(), data(20)
    history = fit(
        model, x, y, **{**OPTIONS, "epochs": 60}, optimizer=SGD(model.parameters(), lr=0.2)
    )
    assert type(history) is History
    assert history.epochs == len(history.history["loss"]) == 60
    assert model.a.data == pytest.approx(3, abs=1e-3)
    assert model.b.data == pytest.approx(1, abs=1e-3)
    assert repr(history).startswith("History(epochs=60, loss=")


def test_gradient_norms_of_every_parameter() -> None:
    model, (x, y) = Line(), data(6)
    options = {**OPTIONS, "epochs": 1, "batch_size": 6}
    history = fit(
        model, x, y, **options, optimizer=SGD(model.parameters(), lr=0.1), track_gradients=True
    ).history
    # The only batch comes before the only step: a = b = 0.
    assert history["grad_norm/a"] == pytest.approx([abs(np.mean(2 * (0 - y) * x))])
    assert history["grad_norm/b"] == pytest.approx([abs(np.mean(2 * (0 - y)))])
    model.a.requires_grad = False
    untracked = fit(model, x, y, **options, optimizer=SGD(model.parameters(), lr=0.1))
    assert list(untracked.history) == ["loss"]


def test_means_weight_by_samples() -> None:
    model, (x, y) = Line(), data(10)
    frozen = SGD(model.parameters(), lr=0.0)

    def mean_error(prediction: np.ndarray, target: np.ndarray) -> float:
        assert type(prediction) is np.ndarray
        return np.abs(prediction - target).mean()

    history = fit(
        model,
        x,
        y,
        **OPTIONS,
        optimizer=frozen,
        metrics=[mean_error],
        validation_data=(x[:7], y[:7]),
    )
    assert [size for _, _, size in model.calls] == [4, 4, 2, 4, 3] * 2
    logs = {name: values[-1] for name, values in history.history.items()}
    assert logs == pytest.approx(
        {
            "loss": np.mean(y**2),
            "mean_error": np.mean(np.abs(y)),
            "val_loss": np.mean(y[:7] ** 2),
            "val_mean_error": np.mean(np.abs(y[:7])),
        },
        rel=1e-12,
    )
    scores = evaluate(model, x, y, loss=squared, metrics=[mean_error], batch_size=3)
    assert scores == pytest.approx({n: logs[n] for n in ("loss", "mean_error")}, rel=1e-12)


def test_modes_are_set_and_restored() -> None:
    inner = Line()
    model = Sequential(inner)
    inner.training = False
    x, y = data(4)
    fit(model, x, y, **{**OPTIONS, "epochs": 1}, optimizer="sgd", validation_data=(x, y))
    assert inner.calls == [(True, True, 4), (False, False, 4)]
    assert model.training
    assert not inner.training
    inner.calls.clear()
    model.train()
    evaluate(model, x, y, loss=squared)
    predict(model, x)
    assert inner.calls == [(False, False, 4)] * 2
    assert inner.training
    assert is_grad_enabled()


def test_shuffling_follows_the_seed() -> None:
    x = np.arange(10.0)

    class Watch(Line):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[list[float]] = []

        def forward(self, input: np.ndarray) -> object:
            self.seen.append(input.tolist())
            return super().forward(input)

    def order(shuffle: bool, seed: int = 0) -> list[float]:
        random.manual_seed(seed)
        model = Watch()
        fit(model, x, x, **OPTIONS, optimizer="adam", shuffle=shuffle)
        return [value for batch in model.seen for value in batch]

    assert order(False) == [*range(10)] * 2
    assert order(True) == order(True)
    assert order(True) != order(True, seed=1)
    assert order(True)[:10] != order(True)[10:]
    assert sorted(order(True)[:10]) == [*range(10)]


def test_several_inputs() -> None:
    class Product(Line):
        def forward(self, left: np.ndarray, right: np.ndarray) -> object:
            return super().forward(left * right)

    x, y = data(5)
    model = Product()
    fit(model, (x, x), y, **OPTIONS, optimizer=Adam)
    assert predict(model, (x, x), batch_size=2).shape == (5,)


def test_predict() -> None:
    model, (x, _) = Line(), data(7)
    model.a.data = np.array([2.0])
    for size in (1, 3, 7, 100):
        out = predict(model, x, batch_size=size)
        assert type(out) is np.ndarray
        np.testing.assert_array_equal(out, 2 * x)

    class Two(Line):
        def forward(self, input: np.ndarray) -> object:
            return super().forward(input), np.ones((len(input), 3), np.float32)

    first, second = predict(Two(), x, batch_size=3)
    assert first.shape == (7,)
    assert second.shape == (7, 3)
    assert second.dtype == np.float32

    class Total(Line):
        def forward(self, input: np.ndarray) -> object:
            return input.sum()

    with pytest.raises(ValueError, match=r"predict: the model must return 7 rows .* shape \(\)"):
        predict(Total(), x)


def test_bad_arguments_are_refused_before_anything_runs() -> None:
    x, y = data(4)
    other = Line()
    cases = [
        ({"x": x[:3]}, ValueError, r"fit: y must have as many samples as x \(3\), got 4"),
        ({"x": (x, x[:3])}, ValueError, r"fit: x\[1\] must have as many samples as x\[0\] \(4\)"),
        ({"x": ()}, ValueError, "fit: x must not be empty"),
        ({"x": x[:0], "y": y[:0]}, ValueError, "fit: x must hold at least one sample"),
        ({"x": np.array(["a"] * 4)}, TypeError, "fit: x must hold numbers, got <U1"),
        ({"epochs": 0}, ValueError, "fit: epochs must be >= 1, got 0"),
        ({"epochs": 1.5}, TypeError, "fit: epochs must be an int, got float"),
        ({"batch_size": -1}, ValueError, "fit: batch_size must be >= 1, got -1"),
        ({"loss": "no_such"}, ValueError, "fit: loss must be .* got 'no_such'"),
        ({"loss": 3}, TypeError, "fit: loss must be a str or callable, got int"),
        ({"optimizer": "lbfgs"}, ValueError, "fit: optimizer must be one of sgd, adam, adamw"),
        ({"optimizer": 3}, TypeError, "fit: optimizer must be an Optimizer, a class or a str"),
        (
            {"optimizer": SGD(other.parameters())},
            ValueError,
            "fit: optimizer must hold parameters of the model",
        ),
        ({"metrics": "accuracy"}, TypeError, "fit: metrics must be a list or tuple"),
        ({"metrics": ["recall"]}, ValueError, "fit: metrics must be 'accuracy' or callables"),
        ({"metrics": ["accuracy"] * 2}, ValueError, "fit: metrics must have distinct names"),
        ({"validation_data": x}, ValueError, r"fit: validation_data must be a pair \(x, y\)"),
        ({"validation_data": (x, y[1:])}, ValueError, "fit: validation_data: y must have"),
        (
            {"callbacks": [EarlyStopping()]},
            ValueError,
            "EarlyStopping: monitor must be one of loss, got 'val_loss'",
        ),
        ({"model": len}, TypeError, "fit: model must be a Module, got builtin_function"),
    ]
    for changes, error, message in cases:
        model = Line()
        arguments = {"model": model, "x": x, "y": y, "optimizer": "sgd", **OPTIONS, **changes}
        with pytest.raises(error, match=message):
            fit(**arguments)
        assert model.calls == []


def test_losses_that_cannot_be_differentiated() -> None:
    x, y = data(4)
    for loss, error, message in (
        (lambda p, t: 1.0, TypeError, "fit: loss must return a Tensor .* got float"),
        (lambda p, t: p - t, ValueError, r"fit: loss must return one number, got shape \(4,\)"),
    ):
        with pytest.raises(error, match=message):
            fit(Line(), x, y, optimizer="sgd", **{**OPTIONS, "loss": loss})
    with pytest.raises(ValueError, match="evaluate: loss must return one number"):
        evaluate(Line(), x, y, loss=lambda p, t: p - t)


class Record(Callback):
    def __init__(self) -> None:
        self.events: list[object] = []

    def on_train_begin(self, logs: dict[str, float]) -> None:
        assert isinstance(self.model, Line)
        self.events.append("begin")

    def on_train_end(self, logs: dict[str, float]) -> None:
        self.events.append("end")

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.events.append(("epoch", epoch))

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.events.append((batch, sorted(logs)))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.events.append(("done", epoch, sorted(logs)))


def test_callbacks_are_called_in_order() -> None:
    class Bare:
        ends = 0

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.ends += 1

    record, bare, (x, y) = Record(), Bare(), data(6)
    fit(
        Line(),
        x,
        y,
        optimizer="sgd",
        **{**OPTIONS, "epochs": 1},
        callbacks=[record, bare],
        validation_data=(x, y),
    )
    assert record.events == [
        "begin",
        ("epoch", 0),
        (0, ["loss"]),
        (1, ["loss"]),
        ("done", 0, ["loss", "val_loss"]),
        "end",
    ]
    assert bare.ends == 1


class Scripted(Callback):
    """Set the model's offset to a scripted value at each epoch, to steer the validation loss."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.model.b.data = np.array([self.values.pop(0)])


@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping(restore: bool) -> None:
    x = np.zeros(4)
    stopper = EarlyStopping("val_loss", patience=2, restore_best_weights=restore)
    for _ in range(2):
        model = Line()
        history = fit(
            model,
            x,
            x,
            **{**OPTIONS, "epochs": 9},
            optimizer=SGD(model.parameters(), lr=0.0),
            validation_data=(x, x),
            callbacks=[Scripted([5.0, 3.0, 4.0, 2.0, 2.0, np.nan, 1.0]), stopper],
        )
        assert history.history["val_loss"][:5] == [25, 9, 16, 4, 4]
        assert history.epochs == 6
        assert stopper.stopped_epoch == 5
        if restore:
            assert model.b.data == 2
        else:
            assert np.isnan(model.b.data)


def test_early_stopping_modes() -> None:
    stopper = EarlyStopping("accuracy", min_delta=0.1)
    stopper.on_train_begin({})
    assert [stopper.improved({"accuracy": v}) for v in (0.5, 0.55, 0.7)] == [True, False, True]
    with pytest.raises(ValueError, match="EarlyStopping: mode must be"):
        EarlyStopping(mode="most")
    with pytest.raises(ValueError, match="EarlyStopping: patience must be >= 0, got -1"):
        EarlyStopping(patience=-1)
    with pytest.raises(ValueError, match="EarlyStopping: min_delta must be >= 0, got -1"):
        EarlyStopping(min_delta=-1)


def test_model_checkpoint(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model, x = Line(), np.zeros(4)
    fit(
        model,
        x,
        x,
        **{**OPTIONS, "epochs": 3},
        optimizer=SGD(model.parameters(), lr=0.0),
        validation_data=(x, x),
        callbacks=[
            Scripted([5.0, 3.0, 4.0]),
            ModelCheckpoint(tmp_path / "{epoch}-{val_loss:.0f}.safetensors"),
            ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True),
        ],
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "1-25.safetensors",
        "2-9.safetensors",
        "3-16.safetensors",
        "best.safetensors",
    ]
    assert load_file(tmp_path / "best.safetensors")["b"] == 3


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    model, (x, y) = Line(), data(6)
    fit(model, x, y, optimizer="sgd", **{**OPTIONS, "progress": True}, validation_data=(x, y))
    shown = capsys.readouterr().err
    assert "Epoch 1/2: 100%" in shown
    assert "Epoch 2/2: 100%" in shown
    assert "val_loss=" in shown


def test_tqdm_is_imported_only_for_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: object) -> object:
        assert name != "tqdm"
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "tqdm", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    x, y = data(4)
    fit(Line(), x, y, optimizer="sgd", **OPTIONS)


def test_interruption_leaves_the_model_usable(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupt(Callback):
        def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
            if batch == 1:
                raise KeyboardInterrupt

    model, (x, y) = Line(), data(12)
    model.eval()
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            x,
            y,
            optimizer="sgd",
            **{**OPTIONS, "progress": True},
            callbacks=[Interrupt()],
        )
    assert capsys.readouterr().err.endswith("\n")
    assert not model.training
    assert is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())
    assert predict(model, x).shape == (12,)


def test_losses_by_name_and_binary_accuracy() -> None:
    functional = pytest.importorskip("fastnn.functional")
    if not hasattr(functional, "binary_cross_entropy_with_logits"):
        pytest.skip("the loss is not there yet")
    x = np.array([-2.0, -1.0, 0.2, 2.0])
    y = (x > 0).astype(float)
    model = Line()
    model.a.data = np.ones(1)
    scores = evaluate(
        model, x, y, loss="binary_cross_entropy_with_logits", metrics=["accuracy"], batch_size=3
    )
    assert scores["accuracy"] == 1.0
    assert scores["loss"] == pytest.approx(np.mean(np.log1p(np.exp(-np.abs(x)))))


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ([[1, 3, 2], [5, 0, 0], [0, 0, 1]], [1, 0, 0], 2 / 3),
        ([[1, 3, 2], [5, 0, 0]], [[0, 1, 0], [0, 0, 1]], 0.5),
        (np.array([[[1, 2], [3, 0]]]), [[1, 0]], 1.0),
        ([0.4, 0.6, 0.5], [0, 1, 1], 2 / 3),
        ([[0.4], [0.6]], [1, 1], 0.5),
        ([[0.4], [0.6]], [[0.0], [1.0]], 1.0),
        ([0.4, 0.6], [[False], [True]], 1.0),
    ],
)
def test_accuracy(prediction: object, target: object, expected: float) -> None:
    assert accuracy(prediction, target) == pytest.approx(expected)


def test_accuracy_errors() -> None:
    with pytest.raises(ValueError, match=r"accuracy: target must .* got shape \(3,\)"):
        accuracy(np.zeros((2, 3)), np.zeros(3))


def test_callbacks_that_are_none():
    model = Linear(2, 1)
    x = np.ones((4, 2), np.float32)
    with pytest.raises(TypeError, match="fit: callbacks must be a sequence, got NoneType"):
        fit(
            model,
            x,
            x[:, :1],
            loss="mse_loss",
            optimizer="sgd",
            epochs=1,
            batch_size=2,
            callbacks=None,
        )


@pytest.mark.parametrize(("each", "rate"), [("epoch", 0.25), ("batch", 0.5**6)])
def test_schedules_take_steps(each: str, rate: float) -> None:
    model, x = Line(), np.ones((5, 1))
    optimizer = SGD(model.parameters(), lr=1.0)
    schedule = LRSchedule(ExponentialLR(optimizer, 0.5), each)
    options = {"epochs": 2, "batch_size": 2, "callbacks": [schedule], "progress": False}
    fit(model, x, x, loss="mse_loss", optimizer=optimizer, **options)
    assert optimizer.param_groups[0]["lr"] == rate


@pytest.mark.parametrize(
    ("method", "error"),
    [
        (lambda x: x.view(-1, 2), ValueError),
        (lambda x: x.permute(1, 0), AttributeError),
    ],
)
def test_methods_that_only_tensors_have_are_explained(method: object, error: type) -> None:
    class Model(Line):
        def forward(self, input: np.ndarray) -> object:
            return method(super().forward(input))

    model, x = Model(), np.ones((4, 2))
    with pytest.raises(error, match=r"predict: .*; without gradients a model computes on arrays"):
        predict(model, x, 4)
    with pytest.raises(error, match=r"evaluate: .*NumPy's methods"):
        evaluate(model, x, x, loss="mse_loss", batch_size=4)


def test_a_plateau_lowers_the_rate() -> None:
    model, x = Line(), np.ones((4, 1))
    optimizer = SGD(model.parameters(), lr=1e-9)
    plateau = ReduceLROnPlateau(optimizer, patience=1, eps=0)
    options = {"epochs": 4, "batch_size": 4, "progress": False}
    with pytest.raises(ValueError, match="LRSchedule: monitor must be one of loss, got 'val_loss'"):
        fit(model, x, x, loss="mse_loss", optimizer=optimizer, callbacks=[LRSchedule(plateau)],
            **options)  # fmt: skip
    schedule = LRSchedule(plateau, monitor="loss")
    fit(model, x, x, loss="mse_loss", optimizer=optimizer, callbacks=[schedule], **options)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-10)
    with pytest.raises(ValueError, match="LRSchedule: each must be 'epoch', or 'batch' for"):
        LRSchedule(plateau, each="batch")
    with pytest.raises(TypeError, match=r"LRSchedule: scheduler must be one of .*, got SGD"):
        LRSchedule(optimizer)
