"""Which folders are SavedModels, which version is served, and what is refused."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.core import names
from service.core.errors import BadRequest
from service.core.messages import ModelSpec, ModelState
from service.repository.frameworks import framework_of, version_of
from service.repository.saved_models import (
    NoSuchVersion,
    find_saved_model,
    holds_saved_model,
    saved_model_bytes,
)
from service.repository.sources import Source


def saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(100))
    return folder


def test_a_folder_with_a_graph_is_one_whatever_the_version(tmp_path: Path) -> None:
    assert find_saved_model(saved_model(tmp_path), "7") == tmp_path
    assert saved_model_bytes(tmp_path) == 105
    assert version_of(ModelSpec("m", "m", ""), Source(tmp_path)) == "1"


@pytest.mark.parametrize("inside", ["", "saved_model"])
def test_of_numbered_folders_the_highest_is_served_or_the_one_asked_for(
    tmp_path: Path, inside: str
) -> None:
    root = tmp_path / inside
    for name in ("1", "00000010", "9", "draft"):
        saved_model(root / name)
    (root / "11").mkdir()  # not there yet
    version = version_of(ModelSpec("m", "m", ""), Source(tmp_path))
    assert version == "10"
    assert find_saved_model(tmp_path, version) == root / "00000010"
    assert find_saved_model(tmp_path, "9") == root / "9"
    for absent in ("11", "draft", "²"):
        with pytest.raises(NoSuchVersion, match="the folder's SavedModels are 1, 9, 10"):
            find_saved_model(tmp_path, absent)


def test_a_folder_without_any_says_what_one_is(tmp_path: Path) -> None:
    assert not holds_saved_model(tmp_path)
    with pytest.raises(NoSuchVersion, match=r"accepted: a folder with saved_model\.pb"):
        find_saved_model(tmp_path, "1")


def test_a_folder_with_other_weights_is_a_saved_model_only_if_asked(tmp_path: Path) -> None:
    saved_model(tmp_path / "saved_model" / "3")
    assert framework_of("auto", Source(tmp_path)) == "saved_model"
    (tmp_path / "model.safetensors").touch()
    assert framework_of("auto", Source(tmp_path)) == "torch"
    assert version_of(ModelSpec("m", "m", ""), Source(tmp_path)) == "1"
    assert framework_of("saved_model", Source(tmp_path)) == "saved_model"
    assert version_of(ModelSpec("m", "m", "", "saved_model"), Source(tmp_path)) == "3"


def test_a_saved_model_of_the_hub_is_refused() -> None:
    assert framework_of("auto", Source(repo_id="a/b")) == "torch"
    with pytest.raises(BadRequest, match="is code and is not served from the hub"):
        framework_of("saved_model", Source(repo_id="a/b"))


def test_a_later_number_takes_the_traffic(play: Any, tiny_bert: Path) -> None:
    async def test(bench: Any) -> None:
        shutil.copytree(tiny_bert, bench.folder / "half")  # the fake worker says it is a BERT
        saved_model(bench.folder / "half" / "1")
        assert bench.load("", source="half").spec.version == "1"
        await bench.until(ModelState.READY, "1")
        assert bench.worker.order.folder == str(bench.folder / "half" / "1")
        saved_model(bench.folder / "half" / "2")
        assert bench.load("", source="half").spec.version == "2"
        await bench.until(ModelState.UNLOADED, "1")
        assert bench.repository.get("m").spec.version == "2"
        assert bench.worker.order.folder == str(bench.folder / "half" / "2")

    play(test)


def test_a_version_that_is_not_there_fails_and_names_those_that_are(play: Any) -> None:
    async def test(bench: Any) -> None:
        saved_model(bench.folder / "half" / "1")
        bench.load("7", source="half")
        await bench.until(ModelState.FAILED, "7")
        assert "'7'; the folder's SavedModels are 1" in bench.repository.get("m", "7").reason

    play(test)


def test_without_its_framework_the_extra_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names.importlib.util, "find_spec", lambda name: None)
    problem = names.framework_problem("saved_model")
    assert problem.startswith("tensorflow is not installed")
    assert problem.endswith("pip install 'model-base[tensorflow]'")
    assert names.framework_problem("fake") == ""


def test_a_template_without_its_framework_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.engine.supervisor import Supervisor, TemplateFailed

    monkeypatch.setattr(names.importlib.util, "find_spec", lambda name: None)

    async def run() -> None:
        with pytest.raises(TemplateFailed, match="tensorflow is not installed"):
            await Supervisor().fork("saved_model", lambda status: None)

    asyncio.run(run())
