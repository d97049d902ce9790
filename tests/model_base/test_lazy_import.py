"""Importing the library imports no framework; every public name is there when it is used."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import model_base

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "h5py", "numpy", "safetensors")


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("model_base", FRAMEWORKS),
        ("model_base.auto", ("torch", "tensorflow", "keras", "jax", "flax")),
        ("model_base.checkpoints", ("torch", "tensorflow", "keras", "jax", "flax")),
        ("model_base.loading.resolve", ("torch", "tensorflow", "keras", "jax", "flax")),
    ],
)
def test_importing_it_imports_no_framework(
    module: str, forbidden: tuple[str, ...], run_python: Callable[..., str]
) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    assert not set(forbidden) & set(json.loads(run_python(code)))


def test_every_public_name_is_found() -> None:
    for name in model_base.__all__:
        assert getattr(model_base, name).__name__ == name
    assert set(model_base.__all__) <= set(dir(model_base))


def test_a_name_is_imported_from_the_top() -> None:
    from model_base import BertForMaskedLM, load_sharded_checkpoint

    assert BertForMaskedLM.base_model_prefix == "bert"
    assert callable(load_sharded_checkpoint)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'model_base' has no attribute 'Martian'"):
        model_base.Martian  # noqa: B018  # the look-up is what is tested


def test_every_module_can_be_imported_on_its_own() -> None:
    root = Path(model_base.__file__).parent
    for path in root.rglob("*.py"):
        name = ".".join(("model_base", *path.relative_to(root).with_suffix("").parts))
        importlib.import_module(name.removesuffix(".__init__"))
