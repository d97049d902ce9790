"""The shape of the tree, as tests: what a reviewer would otherwise have to remember."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STACKS = ("torch", "tensorflow", "flax")
MAX_LINES = 500

# A file that exists in one stack only must say why, here, or the test fails.
ONE_STACK_ONLY: dict[str, str] = {
    "arrays": "torch: dtypes; TensorFlow's variables are float32",
    "decoder": "torch: of Llama and its kin, which TensorFlow never had",
    "empty": "torch: the meta device",
    "grouped_query": "torch: of Llama and its kin",
    "inputs": "tensorflow: Keras gives a model its inputs in many ways",
    "layouts": "torch: padded, packed, paged; TensorFlow's tokens are padded",
    "losses": "tensorflow: public classes of 4.19",
    "pruning": "torch: 4.19 prunes nothing in TensorFlow",
    "rotary": "torch: of Llama and its kin",
    "serving": "tensorflow: SavedModel",
    "structures": "tensorflow: Keras takes outputs apart",
    "training": "tensorflow: Keras' fit",
}
# A file over MAX_LINES must say why, here.
LONG: dict[str, str] = {}


def sources(*tops: str) -> list[Path]:
    files = [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]
    return [path for path in files if "_generated" not in path.parts]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


def stacks() -> list[str]:
    return [stack for stack in STACKS if (ROOT / "model_base" / stack).is_dir()]


@pytest.mark.parametrize(
    "path", sources("model_base", "service", "benchmarks", "tests"), ids=name_of
)
def test_a_file_is_short(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert (lines > MAX_LINES) == (name_of(path) in LONG)


@pytest.mark.parametrize("path", sources("model_base", "service"), ids=name_of)
def test_a_module_is_never_run_by_its_path(path: Path) -> None:
    # `python model_base/x.py` puts model_base/ on sys.path, and `import torch` finds ours.
    assert '__name__ == "__main__"' not in path.read_text() or path.name == "__main__.py"


def test_stacks_mirror_each_other() -> None:
    files = [stems(ROOT / "model_base" / stack) for stack in stacks()]
    odd = set.union(*files) - set.intersection(*files)
    assert odd == set(ONE_STACK_ONLY)


def test_every_architecture_has_a_configuration_and_a_stack() -> None:
    shared = {"base", "bounds", "layer_types", "rotary"}
    configs = stems(ROOT / "model_base" / "configs") - shared
    models = [stems(ROOT / "model_base" / stack / "models") for stack in stacks()]
    assert set.union(*models) == configs


def test_every_checkpoint_format_has_tests() -> None:
    formats = stems(ROOT / "model_base" / "checkpoints") - {"base", "sharding"}
    tests = stems(ROOT / "tests" / "model_base" / "checkpoints")
    assert {f"test_{name}" for name in formats} <= tests


def test_every_protocol_has_tests() -> None:
    protocols = {path.parent.name for path in (ROOT / "service" / "protocols").glob("*/routes.py")}
    tests = {path.parent.name for path in (ROOT / "tests/service/protocols").glob("*/test_*.py")}
    assert protocols == tests
