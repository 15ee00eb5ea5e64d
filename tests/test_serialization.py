from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import same_bytes, strided_variants

import fastnn

safetensors_numpy = pytest.importorskip("safetensors.numpy")

DTYPES = [
    *["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
    *["float16", "float32", "float64"],
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def values(shape, dtype):
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5).astype(dtype)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 0, 3), (0,), (2, 3, 1, 2)], ids=str)
def test_round_trip(path, name, shape):
    array = values(shape, name)
    fastnn.save({"a": array}, path)
    assert same_bytes(fastnn.load(path), {"a": array})


def test_special_values_keep_their_bits(path):
    array = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324])
    fastnn.save({"a": array}, path)
    assert same_bytes(fastnn.load(path)["a"], array)


def test_bfloat16(path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    fastnn.save({"a": array, "b": array.T}, path)
    assert same_bytes(fastnn.load(path), {"a": array, "b": array.T})


@pytest.mark.parametrize("layout", strided_variants(np.zeros((2, 3))))
def test_any_strides(path, dtype, layout):
    array = values((3, 4), dtype)
    fastnn.save({"a": strided_variants(array)[layout]}, path)
    assert same_bytes(fastnn.load(path)["a"], array)


def test_broadcast_and_shared_memory(path):
    base = np.arange(12.0)
    state = {
        "all": base,
        "again": base,
        "part": base[3:7],
        "matrix": base.reshape(3, 4).T,
        "broadcast": np.broadcast_to(base[:3], (2, 3)),
    }
    fastnn.save(state, path)
    loaded = fastnn.load(path)
    assert loaded.keys() == state.keys()
    for name, array in state.items():
        assert same_bytes(loaded[name], array)
    assert not np.shares_memory(loaded["all"], loaded["again"])


def test_big_endian_arrays_come_back_in_native_order(path):
    fastnn.save({"a": np.arange(3, dtype=">i4")}, path)
    assert same_bytes(fastnn.load(path)["a"], np.arange(3, dtype=np.int32))


def test_tensors_and_numpy_scalars_are_arrays(path):
    fastnn.save({"t": fastnn.Tensor(np.ones(2), requires_grad=True), "s": np.float32(2)}, path)
    assert same_bytes(fastnn.load(path), {"s": np.array(2, np.float32), "t": np.ones(2)})


def test_no_arrays(path):
    fastnn.save({}, path)
    assert fastnn.load(path) == {}


def test_what_is_loaded_can_be_written_to(path):
    fastnn.save({"a": np.zeros(3)}, path)
    array = fastnn.load(path)["a"]
    array += 1
    assert fastnn.load(path)["a"].tolist() == [0, 0, 0]


def test_unusual_names_in_sorted_order(path):
    names = ["", "0.weight", "é", "new\nline", "a b"]
    fastnn.save({name: np.full(1, i) for i, name in enumerate(names)}, path)
    loaded = fastnn.load(path)
    assert list(loaded) == sorted(names)
    assert all(loaded[name] == i for i, name in enumerate(names))


# Checkpoints


def test_nested_values_come_back_as_they_were(path):
    state = {
        "epoch": 3,
        "lr": 0.1,
        "best": float("inf"),
        "done": False,
        "name": "é",
        "nothing": None,
        "empty": [{}, [], ()],
        "betas": (0.9, 0.999),
        "weights": {"a": np.arange(3), "by number": {0: np.ones(2, np.float32), 7: []}},
        "list": [np.zeros(()), (1, "two")],
    }
    fastnn.save(state, path, metadata={"note": "kept"})
    loaded = fastnn.load(path)
    assert same_bytes(loaded.pop("weights"), state.pop("weights"))
    assert same_bytes(loaded.pop("list"), state.pop("list"))
    assert loaded == state
    assert type(loaded["betas"]) is tuple
    arrays = safetensors_numpy.load_file(path)
    assert sorted(arrays) == ["list.0", "weights.a", "weights.by number.0"]


def test_training_goes_on_from_a_checkpoint(path):
    x, y = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32), np.arange(16) % 2

    def build():
        fastnn.manual_seed(1)
        model = small_model()
        optimizer = fastnn.optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)
        schedules = fastnn.optim.lr_scheduler
        warm_up = schedules.LinearLR(optimizer, 0.1, total_iters=2)
        scheduler = schedules.SequentialLR(
            optimizer, [warm_up, schedules.CosineAnnealingLR(optimizer, 9)], [2]
        )
        return model, optimizer, scheduler

    def train(model, optimizer, scheduler, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            fastnn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        return model.state_dict()

    model, optimizer, scheduler = build()
    train(model, optimizer, scheduler, 3)
    fastnn.save({"model": model, "optimizer": optimizer, "scheduler": scheduler}, path)
    expected = train(model, optimizer, scheduler, 4)
    parts = dict(zip(("model", "optimizer", "scheduler"), build()))
    for name, state in fastnn.load(path).items():
        parts[name].load_state_dict(state)
    assert same_bytes(train(*parts.values(), 4), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda o, s: s.StepLR(o, 2),
        lambda o, s: s.MultiStepLR(o, [2, 2, 4]),
        lambda o, s: s.CyclicLR(o, 0.1, 1.0),
        lambda o, s: s.OneCycleLR(o, 1.0, 20),
        lambda o, s: s.CosineAnnealingWarmRestarts(o, 3),
        lambda o, s: s.ReduceLROnPlateau(o),
        lambda o, s: s.ChainedScheduler([s.ConstantLR(o), s.ExponentialLR(o, 0.5)]),
        lambda o, s: s.SequentialLR(o, [s.ConstantLR(o), s.PolynomialLR(o)], [3]),
        lambda o, s: s.LambdaLR(o, lambda step: 1 / (1 + step)),
    ],
)
def test_every_schedule_goes_on_from_a_file(path, make):
    def build():
        optimizer = fastnn.optim.SGD(small_model().parameters(), lr=0.5, momentum=0.9)
        return optimizer, make(optimizer, fastnn.optim.lr_scheduler)

    def run(optimizer, schedule, steps):
        rates = []
        for _ in range(steps):
            optimizer.step()
            plateau = isinstance(schedule, fastnn.optim.lr_scheduler.ReduceLROnPlateau)
            schedule.step(*([1.0] if plateau else []))
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    parts = build()
    run(*parts, 3)
    fastnn.save({"optimizer": parts[0], "schedule": parts[1]}, path)
    expected = run(*parts, 12)
    fresh = build()
    for part, state in zip(fresh, fastnn.load(path).values()):
        part.load_state_dict(state)
    assert run(*fresh, 12) == expected


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{}", '{"array": "b"}', '{"set": []}', '{"dict": [1]}', "3", '{"list": []}'],
)
def test_a_damaged_structure_is_refused(path, text):
    safetensors_numpy.save_file({"a": np.ones(1)}, path, {"fastnn.nested": text})
    with pytest.raises(ValueError, match=r"load: .* the header's 'fastnn.nested' is damaged"):
        fastnn.load(path)


# Modules


def small_model():
    return fastnn.nn.Sequential(fastnn.nn.Linear(3, 4), fastnn.nn.ReLU(), fastnn.nn.Linear(4, 2))


def test_module(path):
    saved, model = small_model(), small_model()
    fastnn.save(saved, path)
    assert fastnn.load(path, model).keys() == saved.state_dict().keys()
    x = np.ones((5, 3), np.float32)
    with fastnn.no_grad():
        assert same_bytes(model(x), saved(x))


def test_state_dict(path):
    model = small_model()
    fastnn.save(model.state_dict(), path)
    loaded = fastnn.load(path)
    assert set(loaded) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert loaded["0.weight"].shape == (4, 3)


def test_loading_into_a_model_is_strict(path):
    fastnn.save({"weight": np.zeros((2, 3), np.float32)}, path)
    with pytest.raises((KeyError, ValueError), match="bias"):
        fastnn.load(path, fastnn.nn.Linear(3, 2))
    bias = np.zeros(2, np.float32)
    fastnn.save({"weight": np.zeros((2, 4), np.float32), "bias": bias}, path)
    with pytest.raises(ValueError, match="weight"):
        fastnn.load(path, fastnn.nn.Linear(3, 2))


# Other readers and writers of the format


def test_safetensors_reads_what_we_write(path):
    state = {"f": values((3, 4), "float32").T, "i": values((2,), "int64"), "e": np.zeros((0, 2))}
    fastnn.save(state, path, metadata={"made by": "a test"})
    loaded = safetensors_numpy.load_file(path)
    assert loaded.keys() == state.keys()
    assert all(same_bytes(loaded[name], state[name]) for name in state)
    with safetensors_numpy.safe_open(path, framework="np") as file:
        assert file.metadata() == {"made by": "a test"}


def test_we_read_what_safetensors_writes(path):
    state = {"f": values((3, 4), "float32"), "b": values((2,), "bool")}
    safetensors_numpy.save_file(state, path, metadata={"format": "np"})
    loaded = fastnn.load(path)
    assert all(same_bytes(loaded[name], state[name]) for name in state)


# Errors


@pytest.mark.parametrize(
    ("error", "message", "obj"),
    [
        (
            TypeError,
            "obj must be a Module, a dict of arrays or a nested dict, got list",
            [np.zeros(3)],
        ),
        (TypeError, r"keys of obj must be str, got 3 \(int\)", {3: np.zeros(3)}),
        (TypeError, "obj: a must be an array, a number, .*; got set", {"a": {1.0}}),
        (TypeError, r"obj: a\.1 must be an array, .*; got object", {"a": [1.0, object()]}),
        (TypeError, r"keys must be str or int, got None in obj: a", {"a": {None: 1}}),
        (ValueError, r"two arrays are called 'a\.b'", {"a.b": np.ones(1), "a": {"b": np.ones(1)}}),
        (TypeError, r"obj\['a\.b'\] has dtype object", {"a": {"b": np.array([None])}}),
        (TypeError, r"obj\['a'\] has dtype object", {"a": np.array([None])}),
        (TypeError, r"obj\['a'\] has dtype complex128", {"a": np.zeros(1, complex)}),
        (TypeError, r"obj\['a'\] has dtype <U1", {"a": np.array(["x"])}),
        (ValueError, "'__metadata__' is reserved", {"__metadata__": np.zeros(3)}),
    ],
)
def test_save_rejects(path, error, message, obj):
    with pytest.raises(error, match=message):
        fastnn.save(obj, path)
    assert not path.exists()


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {3: "epoch"}])
def test_metadata_must_be_text(path, metadata):
    with pytest.raises(TypeError, match="metadata must map str to str, got 3"):
        fastnn.save({}, path, metadata=metadata)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fastnn.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        fastnn.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        fastnn.save({}, tmp_path / "nowhere" / "file")


def test_model_must_be_a_module(path):
    fastnn.save({}, path)
    with pytest.raises(TypeError, match="model must be a Module, got dict"):
        fastnn.load(path, {})


def damaged():
    whole = safetensors_numpy.save({"a": np.arange(4.0)})
    return {
        "empty": b"",
        "short": b"\x08\0\0",
        "text": b"these are not weights at all",
        "pickle": b"\x80\x04\x95" + b"\0" * 40,
        "cut header": whole[:20],
        "cut data": whole[:-1],
        "more data": whole + b"\0",
        "changed header": whole.replace(b"F64", b"F32"),
    }


@pytest.mark.parametrize("kind", damaged())
def test_damaged_files(path, kind):
    path.write_bytes(damaged()[kind])
    with pytest.raises(ValueError, match="not a safetensors file, or is damaged"):
        fastnn.load(path)


# Writing is atomic


def test_saving_again_replaces_the_file(path):
    fastnn.save({"a": np.zeros(1000)}, path)
    fastnn.save({"b": np.ones(1)}, path)
    assert list(fastnn.load(path)) == ["b"]
    assert os.listdir(path.parent) == [path.name]


def test_a_failure_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    fastnn.save({"a": np.zeros(3)}, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="disk full"):
                fastnn.save({"a": np.ones(3)}, path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]


def test_a_symbolic_link_stays_one(path):
    link = path.with_name("link")
    link.symlink_to(path)
    fastnn.save({"a": np.zeros(3)}, link)
    assert link.is_symlink()
    assert list(fastnn.load(path)) == ["a"]


def test_the_file_is_as_readable_as_any_other(path):
    other = path.with_name("other")
    other.write_bytes(b"")
    fastnn.save({}, path)
    assert path.stat().st_mode == other.stat().st_mode


def test_safetensors_is_imported_only_when_used():
    program = "import sys, fastnn, fastnn.serialization; print('safetensors' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,  # where no other fastnn than the installed one is found
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "False\n"


# rename


def test_rename():
    state = {
        f"layer.{i}.{n}.w": np.full((2, 3), 10 * i + j) for i in (0, 1) for j, n in enumerate("kq")
    }
    state["other"] = np.zeros(1)
    rules = [(r"layer\.(\d)\.q\.", r"\1.qk."), (r"layer\.(\d)\.k\.", r"\1.qk.")]
    renamed = fastnn.serialization.rename(state, rules)
    assert sorted(renamed) == ["0.qk.w", "1.qk.w"]
    assert renamed["1.qk.w"].tolist() == [[11] * 3] * 2 + [[10] * 3] * 2
    with pytest.raises(ValueError, match="rename: no name begins with 'x'"):
        fastnn.serialization.rename(state, [*rules, ("x", "y")])
    with pytest.raises(ValueError, match="rename: a: "):
        fastnn.serialization.rename({"x": np.zeros((1, 2)), "y": np.zeros(3)}, [("[xy]", "a")])


@pytest.mark.parametrize("path", [0, 1.5, None, [], object()])
def test_a_path_is_no_number(path):
    with pytest.raises(TypeError, match="load: path must be a str or path-like"):
        fastnn.load(path)
    with pytest.raises(TypeError, match="save: path must be a str or path-like"):
        fastnn.save({}, path)


def test_damaged_files_are_told(tmp_path):
    path = tmp_path / "weights.safetensors"
    fastnn.save({"weight": np.ones((4, 3), np.float32), "bias": np.zeros(4)}, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(200):
        damaged = bytearray(whole)
        if trial % 2:
            damaged = damaged[: rng.integers(len(whole))]
        else:
            for position in rng.integers(0, 8 + 60, 3):
                damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            fastnn.load(path)
        except (ValueError, TypeError) as error:
            assert str(path) in str(error)  # noqa: PT017
