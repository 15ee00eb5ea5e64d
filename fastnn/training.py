"""Training, evaluation and prediction in batches: ``fit``, ``evaluate``, ``predict``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, TensorBase, array, no_grad
from fastnn.batches import Batch, Data, check_count
from fastnn.callbacks import Callback, EarlyStopping, History, LRSchedule, ModelCheckpoint
from fastnn.metrics import Metric, resolve_metrics
from fastnn.nn.module import Module, Parameter

if TYPE_CHECKING:
    from fastnn.optim.optimizer import Optimizer

__all__ = [
    "Callback",
    "EarlyStopping",
    "History",
    "LRSchedule",
    "ModelCheckpoint",
    "evaluate",
    "fit",
    "predict",
]

Loss = Union[str, Callable[[Any, Any], Any]]


def fit(
    model: Module,
    x: Any,
    y: Any,
    *,
    loss: Loss,
    optimizer: Optimizer | type[Optimizer] | str,
    epochs: int,
    batch_size: int,
    validation_data: tuple[Any, Any] | None = None,
    metrics: Sequence[str | Metric] = (),
    callbacks: Sequence[Any] = (),
    shuffle: bool = True,
    progress: bool = True,
    track_gradients: bool = False,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
        Put into training mode, and back into its mode at the end.
    x : array_like or tuple of array_like, (N, ...)
        A tuple is passed on as several arguments.
    y : array_like, (N, ...)
        Targets, in the form that the loss takes.
    loss : str or callable
        ``loss(prediction, target)`` returns the mean over the batch, a Tensor with one element.
        A str names a function of ``fastnn.functional``: "cross_entropy", "mse_loss", ...
    optimizer : Optimizer, class, or str
        A class, or "sgd", "adam" or "adamw", is made with its default options.
    epochs, batch_size : int
        The last batch of an epoch may be smaller. Averages over an epoch weight by samples.
    validation_data : (x, y), optional
        Evaluated after each epoch; its numbers have the prefix "val_".
    metrics : sequence of str or callable
        "accuracy" (highest class, or threshold one half), or
        ``metric(prediction, target)`` on arrays, the mean over the batch.
    callbacks : sequence
        Objects with some of the methods of :class:`Callback`.
    shuffle : bool
        Whether to draw a new order every epoch, from the generator of ``fastnn.manual_seed``.
    progress : bool
        Whether to show a bar for each epoch.
    track_gradients : bool
        Whether the history holds ``grad_norm/<parameter>`` too, the 2-norm of that parameter's
        gradient, a mean over the epoch's batches: where it grows or shrinks by orders of magnitude
        from layer to layer, gradients explode or vanish.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        Before anything runs, if an argument does not fit. An error or KeyboardInterrupt during
        the run closes the bar and restores the model's mode; the weights stay as they then are.

    Examples
    --------
    >>> from fastnn.nn.module import Module, Parameter
    >>> class Line(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.slope = Parameter(np.zeros(1))
    ...     def forward(self, input):
    ...         return input * self.slope
    >>> line, x = Line(), np.linspace(-1, 1, 20)
    >>> def squared_error(prediction, target):
    ...     return ((prediction - target) ** 2).mean()
    >>> history = fit(line, x, 2 * x, loss=squared_error, optimizer="adam", epochs=1,
    ...               batch_size=5, progress=False)
    >>> history.epochs
    1
    """
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks must be a sequence, got {type(callbacks).__name__}")
    callbacks = list(callbacks)
    data = Data("fit", x, y, batch_size)
    check_count("fit", "epochs", epochs)
    held_out = _validation(validation_data, batch_size)
    run = _Run("fit", model, loss, metrics)
    steps = _resolve_optimizer(optimizer, model)
    val_names = [] if held_out is None else [f"val_{name}" for name in run.names]
    tracked = _tracked(model) if track_gradients else {}
    _call(callbacks, "check_names", [*run.names, *tracked, *val_names])
    history = History()
    with _mode(model):
        _call(callbacks, "set_model", model)
        _call(callbacks, "on_train_begin", {})
        try:
            for epoch in range(epochs):
                _call(callbacks, "on_epoch_begin", epoch, {})
                with _bar(f"Epoch {epoch + 1}/{epochs}", data.batches, progress) as bar:
                    logs = _train_epoch(run, steps, data.shuffled(shuffle), tracked, callbacks, bar)
                    if held_out is not None:
                        for name, value in run.evaluate(held_out).items():
                            logs[f"val_{name}"] = value
                    bar.show(logs)
                history.append(logs)
                _call(callbacks, "on_epoch_end", epoch, logs)
                if any(getattr(callback, "stop_training", False) for callback in callbacks):
                    break
        finally:
            steps.zero_grad()
        _call(callbacks, "on_train_end", logs)
    return history


def evaluate(
    model: Module,
    x: Any,
    y: Any,
    *,
    loss: Loss,
    metrics: Sequence[str | Metric] = (),
    batch_size: int = 32,
) -> dict[str, float]:
    """Return the loss and the metrics of a model, without training it.

    Arguments are those of :func:`fit`. The model is in evaluation mode meanwhile.

    Returns
    -------
    dict of str to float
        "loss" and each metric: the means over all samples.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    data = Data("evaluate", x, y, batch_size)
    run = _Run("evaluate", model, loss, metrics)
    with _mode(model):
        return run.evaluate(data)


def predict(model: Module, x: Any, batch_size: int = 32) -> Any:
    """Return a model's output for all samples, computed in batches in evaluation mode.

    Parameters
    ----------
    model : Module
    x : array_like or tuple of array_like, (N, ...)
    batch_size : int

    Returns
    -------
    ndarray, (N, ...)
        Or a tuple of them, if the model returns a tuple.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the output does not have one row a sample.
    """
    if not isinstance(model, Module):
        raise TypeError(f"predict: model must be a Module, got {type(model).__name__}")
    data = Data("predict", x, None, batch_size)
    outputs: list[Array] = []
    is_tuple = False
    with _mode(model), no_grad():
        model.eval()
        for part, inputs, _ in data:
            out = _inferred("predict", model, inputs)
            is_tuple = isinstance(out, tuple)
            for position, value in enumerate(out if is_tuple else (out,)):
                rows = np.asarray(array(value))
                if rows.ndim == 0 or len(rows) != len(inputs[0]):
                    raise ValueError(
                        f"predict: the model must return {len(inputs[0])} rows for as many "
                        f"samples, got shape {rows.shape}"
                    )
                if position == len(outputs):
                    outputs.append(np.empty((data.size, *rows.shape[1:]), rows.dtype))
                outputs[position][part] = rows
    return tuple(outputs) if is_tuple else outputs[0]


# What NumPy says of PyTorch's methods on arrays; the second of x.view(-1, n).
_NOT_NUMPYS = ("'numpy.ndarray' object has no attribute", "Type must be a sub-type of ndarray type")


def _inferred(name: str, model: Module, inputs: tuple[Any, ...]) -> Any:
    """Call a model without recording; a method that only a Tensor has is explained."""
    try:
        return model(*inputs)
    except (AttributeError, ValueError) as error:
        if not str(error).startswith(_NOT_NUMPYS):
            raise
        raise type(error)(
            f"{name}: {error}; without gradients a model computes on arrays, which have NumPy's "
            "methods (reshape, transpose, ...) and not PyTorch's: see docs/porting.md"
        ) from error


class _Run:
    """A model with its loss and metrics."""

    def __init__(
        self, name: str, model: Module, loss: Loss, metrics: Sequence[str | Metric]
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
        self.name = name
        self.model = model
        self.loss = _resolve_loss(name, loss)
        logits = getattr(self.loss, "__name__", type(self.loss).__name__).lower()
        threshold = 0.0 if "logits" in logits else 0.5
        self.metrics = resolve_metrics(name, metrics, threshold)
        self.names = ["loss", *self.metrics]

    def score(self, prediction: Any, target: Any, loss: Any) -> list[float]:
        """Return the loss and the metrics of one batch."""
        output = array(prediction)
        values = [float(array(loss).item())]
        return values + [float(metric(output, target)) for metric in self.metrics.values()]

    def checked_loss(self, prediction: Any, target: Any) -> Any:
        """Return the loss of a batch, a Tensor that gradients can start from."""
        loss = self.loss(prediction, target)
        if not isinstance(loss, TensorBase) or not loss.requires_grad:
            raise TypeError(
                f"{self.name}: loss must return a Tensor that depends on parameters with "
                f"requires_grad, got {type(loss).__name__}"
            )
        if loss.data.size != 1:
            raise ValueError(
                f"{self.name}: loss must return one number, got shape {loss.data.shape}"
            )
        return loss

    def evaluate(self, data: Data) -> dict[str, float]:
        """Return the means over `data`, in evaluation mode."""
        means = _Means(self.names)
        self.model.eval()
        with no_grad():
            for _, inputs, target in data:
                prediction = _inferred(self.name, self.model, inputs)
                loss = np.asarray(array(self.loss(prediction, target)))
                if loss.size != 1:
                    raise ValueError(
                        f"{self.name}: loss must return one number, got shape {loss.shape}"
                    )
                means.add(self.score(prediction, target, loss), len(inputs[0]))
        return means.logs()


def _validation(data: Any, batch_size: int) -> Data | None:
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ValueError("fit: validation_data must be a pair (x, y)")
    return Data("fit: validation_data", data[0], data[1], batch_size)


def _resolve_loss(name: str, loss: Loss) -> Callable[[Any, Any], Any]:
    if callable(loss):
        return loss
    if not isinstance(loss, str):
        raise TypeError(f"{name}: loss must be a str or callable, got {type(loss).__name__}")
    from fastnn import functional

    function = getattr(functional, loss, None)
    if not callable(function):
        raise ValueError(
            f"{name}: loss must be a callable or name a loss of fastnn.functional, got {loss!r}"
        )
    return function  # type: ignore[no-any-return]


def _resolve_optimizer(optimizer: Optimizer | type[Optimizer] | str, model: Module) -> Optimizer:
    from fastnn import optim

    if isinstance(optimizer, str):
        names = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}
        if optimizer.lower() not in names:
            raise ValueError(f"fit: optimizer must be one of {', '.join(names)}, got {optimizer!r}")
        optimizer = names[optimizer.lower()]
    if isinstance(optimizer, type) and issubclass(optimizer, optim.Optimizer):
        make: Any = optimizer
        return make(model.parameters())  # type: ignore[no-any-return]
    if not isinstance(optimizer, optim.Optimizer):
        raise TypeError(f"fit: optimizer must be an Optimizer, a class or a str, got {optimizer!r}")
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError("fit: optimizer must hold parameters of the model, it holds none")
    return optimizer


class _Means:
    """Means over samples of numbers that come a batch at a time."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.sums = [0.0] * len(names)
        self.count = 0

    def add(self, values: list[float], samples: int) -> None:
        self.sums = [total + samples * value for total, value in zip(self.sums, values)]
        self.count += samples

    def logs(self) -> dict[str, float]:
        return {name: total / self.count for name, total in zip(self.names, self.sums)}


def _train_epoch(
    run: _Run,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    tracked: dict[str, Parameter],
    callbacks: Sequence[Any],
    bar: _Bar,
) -> dict[str, float]:
    means = _Means([*run.names, *tracked])
    run.model.train()
    for number, (_, inputs, target) in enumerate(batches):
        optimizer.zero_grad()
        prediction = run.model(*inputs)
        loss = run.checked_loss(prediction, target)
        loss.backward()
        norms = [_gradient_norm(parameter) for parameter in tracked.values()]
        optimizer.step()
        means.add([*run.score(prediction, target, loss), *norms], len(inputs[0]))
        logs = means.logs()
        bar.advance(logs)
        _call(callbacks, "on_batch_end", number, logs)
    return means.logs()


_TRACKED = "grad_norm/"


def _tracked(model: Module) -> dict[str, Parameter]:
    """The parameters whose gradients are reported, by the name of the report."""
    return {_TRACKED + name: p for name, p in model.named_parameters() if p.requires_grad}


def _gradient_norm(parameter: Parameter) -> float:
    grad = parameter.grad
    return 0.0 if grad is None else math.sqrt(_core.sum_of_squares([grad]))


class _Bar:
    """A progress bar, or nothing."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def advance(self, logs: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_postfix(_short(logs), refresh=False)
            self.bar.update()

    def show(self, logs: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_postfix(_short(logs))


def _short(logs: dict[str, float]) -> dict[str, str]:
    return {n: f"{value:.4g}" for n, value in logs.items() if not n.startswith(_TRACKED)}


@contextmanager
def _bar(title: str, total: int, progress: bool) -> Iterator[_Bar]:
    if not progress:
        yield _Bar(None)
        return
    from tqdm import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with tqdm(total=total, desc=title, unit="batch", dynamic_ncols=True) as bar:
        yield _Bar(bar)


@contextmanager
def _mode(model: Module) -> Iterator[None]:
    """Restore the mode of the model and of each of its parts at the end."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def _call(callbacks: Sequence[Any], method: str, *arguments: Any) -> None:
    for callback in callbacks:
        function = getattr(callback, method, None)
        if function is not None:
            function(*arguments)
