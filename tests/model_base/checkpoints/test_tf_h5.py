"""Keras h5: layouts of different writers, and files that point elsewhere."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from model_base.checkpoints import TF_H5
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint

ONES = np.ones(3, np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def layered(path: Path, fill: Callable[[h5py.Group], object], weights: list[str]) -> Path:
    """A file of one layer, ``bert``, in which ``fill`` puts the weights."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"bert"]
        group = file.create_group("bert")
        group.attrs["weight_names"] = [name.encode() for name in weights]
        fill(group)
    return path


def test_names_come_without_the_model_s_own(path: Path) -> None:
    layered(path, lambda g: g.create_dataset("model/bert/kernel:0", data=ONES),
            ["model/bert/kernel:0"])  # fmt: skip
    assert list(TF_H5.open(path).infos) == ["bert/kernel:0"]


def test_lists_that_were_split_are_joined(path: Path) -> None:
    names = [f"m/bert/w{i}" for i in range(5)]
    layered(path, lambda g: [g.create_dataset(name, data=ONES) for name in names], [])
    with h5py.File(path, "a") as file:
        del file["bert"].attrs["weight_names"]
        file["bert"].attrs["weight_names0"] = [name.encode() for name in names[:3]]
        file["bert"].attrs["weight_names1"] = [name.encode() for name in names[3:]]
    assert list(TF_H5.open(path).infos) == [f"bert/w{i}" for i in range(5)]


def test_a_weight_listed_by_two_layers_comes_once(path: Path) -> None:
    layered(path, lambda g: g.create_dataset("m/shared", data=ONES), ["m/shared", "m/shared"])
    assert list(TF_H5.open(path).infos) == ["shared"]


def test_compressed_values_are_read(path: Path) -> None:
    layered(path, lambda g: g.create_dataset("m/w", data=np.zeros(10**4), compression="gzip"),
            ["m/w"])  # fmt: skip
    assert TF_H5.open(path).read("w").shape == (10**4,)


def outside(tmp_path: Path) -> str:
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["secret"] = ONES
    return str(tmp_path / "outside.h5")


@pytest.mark.parametrize("kind", ["external link", "soft link", "soft link through an external"])
def test_a_link_is_refused_wherever_it_leads(kind: str, path: Path, tmp_path: Path) -> None:
    def fill(group: h5py.Group) -> None:
        group["ext"] = h5py.ExternalLink(outside(tmp_path), "/")
        group["m"] = group.create_group("real")
        links = {
            "external link": h5py.ExternalLink(outside(tmp_path), "/secret"),
            "soft link": h5py.SoftLink("/bert/real"),
            "soft link through an external": h5py.SoftLink("/bert/ext/secret"),
        }
        group["real"]["w"] = links[kind]

    with pytest.raises(UnsafeCheckpoint, match=r"m\.h5: 'w' in 'real/w' is a link"):
        TF_H5.open(layered(path, fill, ["real/w"]))


def test_a_layer_that_is_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"w"]
        file["w"] = h5py.ExternalLink(outside(tmp_path), "/secret")
    with pytest.raises(UnsafeCheckpoint, match=r"m\.h5"):
        TF_H5.open(path)


def test_values_in_another_file_are_refused(path: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"secret values")
    layered(path, lambda g: g.create_dataset("m/w", (12,), "u1", external=[(str(raw), 0, 12)]),
            ["m/w"])  # fmt: skip
    with pytest.raises(UnsafeCheckpoint, match=r"m\.h5: the values of 'm/w' lie in another file"):
        TF_H5.open(path)


def test_a_virtual_dataset_is_refused(path: Path, tmp_path: Path) -> None:
    virtual = h5py.VirtualLayout((3,), np.float32)
    virtual[:] = h5py.VirtualSource(outside(tmp_path), "secret", (3,))
    layered(path, lambda g: g.create_virtual_dataset("m", virtual), ["m"])
    with pytest.raises(UnsafeCheckpoint, match=r"m\.h5"):
        TF_H5.open(path)


def test_a_shape_larger_than_what_is_stored_is_refused(path: Path) -> None:
    layered(path, lambda g: g.create_dataset("m/w", (2**20, 2**20), "f4", chunks=(1024, 1024)),
            ["m/w"])  # fmt: skip
    with pytest.raises(CheckpointUnreadable, match=r"shape \(1048576, 1048576\).* 0 are stored"):
        TF_H5.open(path)


@pytest.mark.parametrize("data", ["text", np.array([1j]), np.zeros(2, [("a", "f4")])])
def test_what_is_not_numbers_is_refused(data: object, path: Path) -> None:
    layered(path, lambda g: g.create_dataset("m/w", data=data), ["m/w"])
    with pytest.raises(CheckpointUnreadable, match=r"m\.h5: 'm/w' is not a dataset of numbers"):
        TF_H5.open(path)


@pytest.mark.parametrize("name", ["m/absent", "", ".", "..", "/bert/m/w", "m//w"])
def test_a_listed_name_that_leads_nowhere_is_refused(name: str, path: Path) -> None:
    layered(path, lambda g: g.create_dataset("m/w", data=ONES), [name])
    with pytest.raises(CheckpointUnreadable, match=r"m\.h5"):
        TF_H5.open(path)


@pytest.mark.parametrize("names", [None, 7, b"bert"])
def test_a_file_that_lists_no_layers_is_refused(names: object, path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["w"] = ONES
        if names is not None:
            file.attrs["layer_names"] = names
    with pytest.raises(CheckpointUnreadable, match=r"m\.h5"):
        TF_H5.open(path)


def test_a_file_of_layers_is_laid_out_as_keras_2_did(path: Path) -> None:
    shared, own = np.ones((3, 2), np.float32), np.zeros(2, np.float32)
    layers = {
        "bert": {"model/bert/words/weight:0": shared},
        "mlm___cls": {"model/mlm___cls/bias:0": own, "model/bert/words/weight:0": shared},
        "top_level_model_weights": {"final_logits_bias:0": own},
    }
    TF_H5.write_layers(path, layers)
    with h5py.File(path) as file:
        assert list(file.attrs["layer_names"]) == [b"bert", b"mlm___cls"]
        assert set(file) == set(layers)
        assert list(file["mlm___cls"].attrs["weight_names"]) == [
            b"model/mlm___cls/bias:0", b"model/bert/words/weight:0",
        ]  # fmt: skip
        assert np.array_equal(file["mlm___cls/model/bert/words/weight:0"], shared)
        assert (file.attrs["backend"], file.attrs["keras_version"]) == ("tensorflow", "2.8.0")
    found = TF_H5.open(path)
    assert set(found.infos) == {"bert/words/weight:0", "mlm___cls/bias:0", "final_logits_bias:0"}


def test_lists_longer_than_hdf5_allows_are_written_in_chunks(path: Path) -> None:
    names = [f"model/layer_{n}/{'x' * 90}/kernel:0" for n in range(2000)]
    TF_H5.write_layers(path, {"all": dict.fromkeys(names, np.zeros(1, np.float32))})
    with h5py.File(path) as file:
        assert "weight_names" not in file["all"].attrs
        assert len(file["all"].attrs["weight_names0"]) < 2000
    assert list(TF_H5.open(path).infos) == [name.split("/", 1)[1] for name in names]
