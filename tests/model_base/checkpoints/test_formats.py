"""What every checkpoint format must do; a new one joins by being in FORMATS."""

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from benchmarks import fuzz
from model_base.checkpoints import FORMATS, TF_CHECKPOINT, format_of
from model_base.checkpoints.base import CheckpointFormat
from model_base.errors import CheckpointUnreadable

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
FOREIGN = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
NUMPY_ONLY = {"tf_h5"}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


WRITTEN = [fmt for fmt in FORMATS if fmt is not TF_CHECKPOINT]
"""TensorFlow 1 checkpoints are read only; they have a file of their own."""


@pytest.fixture(params=WRITTEN, ids=lambda fmt: fmt.name)
def fmt(request: pytest.FixtureRequest) -> CheckpointFormat:
    return request.param


@pytest.fixture
def path(fmt: CheckpointFormat, tmp_path: Path) -> Path:
    return tmp_path / f"weights{fmt.suffix}"


def arrays(*dtypes) -> dict[str, np.ndarray]:
    return {f"layer/{np.dtype(d).name}": np.arange(6).reshape(2, 3).astype(d) for d in dtypes}


def read(fmt: CheckpointFormat, path: Path) -> dict[str, np.ndarray]:
    checkpoint = fmt.open(path)
    found = {name: checkpoint.read(name) for name in checkpoint.infos}
    checkpoint.close()
    return found


def assert_same_bits(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_a_round_trip_keeps_names_dtypes_and_bits(fmt: CheckpointFormat, path: Path) -> None:
    stored = arrays(*DTYPES)
    stored["nan"] = np.array([np.nan, -0.0, np.inf], np.float32)
    fmt.write(path, stored, {})
    assert_same_bits(read(fmt, path), stored)


def test_numbers_without_axes_and_empty_arrays_keep_their_shape(
    fmt: CheckpointFormat, path: Path
) -> None:
    stored = {"number": np.array(7, np.int64), "empty": np.zeros((0, 3), np.float16)}
    fmt.write(path, stored, {})
    assert_same_bits(read(fmt, path), stored)


@pytest.mark.parametrize("dtype", FOREIGN, ids=lambda dtype: dtype.__name__)
def test_dtypes_that_numpy_lacks_keep_their_bits_or_are_refused_by_name(
    fmt: CheckpointFormat, path: Path, dtype: type
) -> None:
    stored = {"flat": np.arange(4).astype(dtype), "number": np.array(2).astype(dtype)}
    if fmt.name in NUMPY_ONLY:
        with pytest.raises(ValueError, match=np.dtype(dtype).name):
            fmt.write(path, stored, {})
        assert not list(path.parent.iterdir())
    else:
        fmt.write(path, stored, {})
        assert_same_bits(read(fmt, path), stored)


def test_a_transposed_array_is_written_in_its_own_order(fmt: CheckpointFormat, path: Path) -> None:
    stored = {"view": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    fmt.write(path, stored, {})
    assert_same_bits(read(fmt, path), stored)


def test_shapes_and_dtypes_are_known_before_values_are_read(
    fmt: CheckpointFormat, path: Path
) -> None:
    fmt.write(path, {"a": np.zeros((2, 3), np.float16), "b": np.zeros(4, np.int64)}, {})
    infos = fmt.open(path).infos
    assert (infos["a"].shape, infos["a"].num_bytes, infos["a"].is_floating) == ((2, 3), 12, True)
    assert (infos["b"].shape, infos["b"].num_bytes, infos["b"].is_floating) == ((4,), 32, False)


def test_arrays_outlive_the_file_and_writing_to_them_does_not_change_it(
    fmt: CheckpointFormat, path: Path
) -> None:
    fmt.write(path, {"a": np.zeros(4, np.float32)}, {})
    before = path.read_bytes()
    array = read(fmt, path)["a"]
    array[:] = 1
    assert array.sum() == 4
    assert path.read_bytes() == before


def test_a_file_is_known_by_its_suffix(fmt: CheckpointFormat, path: Path) -> None:
    assert format_of(path) is fmt


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"notes\.txt is none .*\.safetensors.*\.h5"):
        format_of(tmp_path / "notes.txt")


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 64, b"\x80\x02}q\x01.", b"[1, 2]\n" * 9])
def test_a_file_of_something_else_is_refused_by_its_name(
    fmt: CheckpointFormat, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointUnreadable, match=rf"weights\{fmt.suffix}"):
        read(fmt, path)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_its_name(
    fmt: CheckpointFormat, path: Path, kept: float
) -> None:
    fmt.write(path, {f"layer/{i}": np.random.rand(50, 40) for i in range(8)}, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointUnreadable, match=rf"weights\{fmt.suffix}"):
        read(fmt, path)


# HDF5 itself searches some damaged files for ever, which benchmarks/fuzz.py shows and counts.
@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("kind", ["safetensors", "torch_bin", "flax_msgpack"])
def test_a_damaged_file_is_read_or_refused_and_ends_in_nothing_else(
    kind: str, tmp_path: Path, seed: int
) -> None:
    fmt = next(fmt for fmt in FORMATS if fmt.name == kind)
    path = tmp_path / f"weights{fmt.suffix}"
    fmt.write(path, {f"layer/{i}/kernel": np.random.rand(6, 5) for i in range(5)}, {})
    path.write_bytes(fuzz.damaged(path.read_bytes(), seed))
    assert fuzz.read(fmt, path) in ("read", "refused")


def test_a_git_lfs_pointer_is_recognised(fmt: CheckpointFormat, path: Path) -> None:
    path.write_bytes(LFS)
    with pytest.raises(CheckpointUnreadable, match="git lfs pull"):
        fmt.open(path)


def test_a_missing_file_is_refused_by_its_name(fmt: CheckpointFormat, path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match=rf"weights\{fmt.suffix}"):
        fmt.open(path)


def test_writing_into_a_missing_folder_is_an_error_of_the_system(
    fmt: CheckpointFormat, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="absent"):
        fmt.write(tmp_path / "absent" / f"w{fmt.suffix}", arrays("float32"), {})


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from model_base.checkpoints import FORMATS
path = Path(sys.argv[1])
fmt = next(f for f in FORMATS if path.name.endswith(f.suffix))
small, large = {"a": np.ones(4, "f4")}, {f"a{i}": np.ones(2**18, "f4") for i in range(4)}
fmt.write(path, small, {})
before = path.read_bytes()
if fmt.name == "torch_bin":
    import torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    fmt.write(path, large, {})
except OSError as error:
    print("refused", before == path.read_bytes(), [p.name for p in path.parent.iterdir()])
"""


def test_a_write_that_does_not_fit_leaves_the_old_file_and_nothing_else(
    path: Path, run_python: Callable[..., str]
) -> None:
    assert run_python(FULL_DISK, path) == f"refused True ['{path.name}']\n"
