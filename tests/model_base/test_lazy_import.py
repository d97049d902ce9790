"""Importing the library imports no framework; every public name is there when it is used."""

import importlib.util
import json
import sys
import types
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


def is_installed(home: str) -> bool:
    """Whether the framework of a module's stack is there."""
    return ".tensorflow" not in home or importlib.util.find_spec("tensorflow") is not None


def test_every_public_name_is_found() -> None:
    for name in model_base.__all__:
        if is_installed(model_base._HOME[name]):
            assert getattr(model_base, name).__name__ == name
    assert set(model_base.__all__) <= set(dir(model_base))


@pytest.mark.parametrize(
    ("hidden", "text"),
    [
        ("tensorflow", "pip install 'model-base\\[tensorflow\\]'"),
        ("keras", "keras is not installed"),
    ],
)
def test_a_stack_that_is_not_installed_says_what_to_install(
    hidden: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("model_base.tensorflow")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, hidden, None)
    if hidden != "keras" and importlib.util.find_spec("keras") is None:
        monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))
    with pytest.raises(ImportError, match=text):
        importlib.import_module("model_base.tensorflow")


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
        if is_installed(name):
            importlib.import_module(name.removesuffix(".__init__"))
