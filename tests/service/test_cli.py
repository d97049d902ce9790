import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from service import cli, server
from service.core.messages import ModelSpec
from service.core.settings import Settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MODEL_BASE_"):
            monkeypatch.delenv(name)


class FakeTemplate:
    """Stands for the process that is started ahead."""

    started: ClassVar[list["FakeTemplate"]] = []

    def __init__(self, framework: str) -> None:
        self.has_ended = False
        self.started.append(self)

    framework = "torch"

    def end(self) -> None:
        self.has_ended = True


@pytest.fixture(autouse=True)
def no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cli, "start_template", FakeTemplate)
    FakeTemplate.started.clear()
    yield
    assert all(template.has_ended for template in FakeTemplate.started)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, ModelSpec]]:
    """What would have been served."""
    calls: list[tuple[Settings, ModelSpec]] = []

    def serve(settings: Settings, models: Any, templates: Any) -> int:
        calls.append((settings, *models))
        return 0

    monkeypatch.setattr(server, "serve", serve)
    return calls


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("model-base: ")
    assert err.count("\n") == 1
    return err


def test_a_folder_is_served_under_its_own_name(served: list[Any], model: Path) -> None:
    assert cli.main(["serve", str(model)]) == 0
    settings, spec = served[0]
    assert spec == ModelSpec("my-model", str(model), "")
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_a_relative_folder_becomes_absolute(
    served: list[Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model)
    cli.main(["serve", "."])
    assert served[0][1] == ModelSpec("my-model", str(model), "")


def test_every_option_arrives(served: list[Any], model: Path) -> None:
    cli.main([
        "serve", str(model), "--name", "a/b", "--framework", "torch", "--dtype", "bfloat16",
        "--device", "cuda:1", "--host", "0.0.0.0", "--port", "0", "--models", str(model.parent),
        "--api-key", "k",
    ])  # fmt: skip
    settings, spec = served[0]
    assert spec == ModelSpec("a/b", str(model), "", "torch", "bfloat16", "cuda:1")
    assert (settings.host, settings.port) == ("0.0.0.0", 0)
    assert settings.model_folders == (model.parent,)
    assert [key.get_secret_value() for key in settings.auth.api_keys] == ["k"]


def test_a_hub_id_keeps_its_name_without_the_revision(served: list[Any]) -> None:
    cli.main(["serve", "owner/name@v1"])
    assert served[0][1] == ModelSpec("owner/name", "owner/name@v1", "")


def test_an_option_wins_over_the_environment_and_adds_to_its_keys(
    served: list[Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_BASE_PORT", "1")
    monkeypatch.setenv("MODEL_BASE_LIMITS__MAX_INPUTS", "3")
    monkeypatch.setenv("MODEL_BASE_AUTH__API_KEYS", '["a"]')
    monkeypatch.setenv("MODEL_BASE_AUTH__ADMIN_KEYS", '["z"]')
    cli.main(["serve", str(model), "--port", "2", "--api-key", "b"])
    settings = served[0][0]
    assert (settings.port, settings.limits.max_inputs) == (2, 3)
    assert [key.get_secret_value() for key in settings.auth.api_keys] == ["a", "b"]
    assert [key.get_secret_value() for key in settings.auth.admin_keys] == ["z"]


@pytest.mark.parametrize("name", ["predict", "a b", "../x", "a/b/c"])
def test_a_name_the_routes_could_not_find_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, name: str
) -> None:
    assert "cannot be its name" in refusal(capsys, "serve", model, "--name", name)


def test_a_folder_that_cannot_be_a_name_asks_for_one(
    capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    odd = model.rename(model.parent / "my model")
    assert "give another with --name" in refusal(capsys, "serve", odd)


def test_a_wrong_path_is_told_from_a_folder_without_a_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "is not a folder; accepted: a model folder, or owner/name" in refusal(
        capsys, "serve", tmp_path / "nowhere"
    )
    assert "has no config.json" in refusal(capsys, "serve", tmp_path)
    assert "--models" in refusal(capsys, "serve", "a/b", "--models", tmp_path / "nowhere")


def test_a_wrong_device_names_those_accepted(
    capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    words = "--device is 'tpu'; accepted: auto, cpu, cuda:N"
    assert words in refusal(capsys, "serve", model, "--device", "tpu")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "70000", "setting port: Input should be less than or equal to 65535, got '70000'"),
        ("LIMITS__MAX_INPUTS", "x", "setting limits.max_inputs"),
        ("LIMITS__NONSENSE", "1", "setting limits.nonsense"),
        ("AUTH__API_KEYS", "secret", "expected JSON"),
        ("AUTH__API_KEYS", '{"a": "secret"}', "setting auth.api_keys"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--api-key", "k"]], ids=["plain", "with a key"])
def test_a_wrong_setting_is_one_line_that_names_it_and_no_key(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    name: str,
    value: str,
    words: str,
    more: list[str],
) -> None:
    monkeypatch.setenv(f"MODEL_BASE_{name}", value)
    message = refusal(capsys, "serve", model, *more)
    assert words in message
    assert "secret" not in message


def test_an_empty_key_is_not_taken_for_none(
    capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    assert "--api-key is empty" in refusal(capsys, "serve", model, "--api-key", "")


def test_a_host_beyond_this_machine_needs_a_key_or_a_decision(
    capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    message = refusal(capsys, "serve", model, "--host", "0.0.0.0", "--port", "0")
    assert "--api-key KEY" in message
    assert "--no-auth" in message


def test_a_source_the_service_would_refuse_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_BASE_HUB", "false")
    assert "setting hub is off" in refusal(capsys, "serve", "owner/name")


@pytest.mark.parametrize("command", [[], ["serve"], ["inspect"]])
def test_help_says_what_each_option_is_for(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "default: None" not in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_help_of_serve_names_the_defaults_and_the_environment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "all-MiniLM-L6-v2", "127.0.0.1", "8000", "MODEL_BASE_",
        "{auto,torch,tensorflow,saved_model}",
        "{auto,float32,bfloat16,float16}", "owner/name[@revision]", "--no-auth", "--models",
    ):  # fmt: skip
        assert words in text


def test_inspecting_what_is_no_model_is_refused(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    assert "is not a folder" in refusal(capsys, "inspect", tmp_path / "nowhere")
    (model / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(capsys, "inspect", model)


def test_inspecting_tells_what_the_headers_say(
    capsys: pytest.CaptureFixture[str], fixtures: Path
) -> None:
    assert cli.main(["inspect", str(fixtures / "v457_bertformaskedlm_st" / "ckpt")]) == 0
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line
    )
    assert lines["model"] == "type    bert"
    assert lines["architecture"] == "BertForMaskedLM"
    assert lines["format"].startswith("safetensors")
    assert "float32" in lines["dtypes"]


@pytest.mark.parametrize("kind", ["os_system", "open_legacy", "exec_in_shard2"])
def test_inspecting_a_hostile_file_runs_nothing(
    capsys: pytest.CaptureFixture[str], fixtures: Path, kind: str
) -> None:
    folder = fixtures / f"sp_malicious_{kind}"
    assert "pytorch_model" in refusal(capsys, "inspect", folder / "ckpt")
    expected = json.loads((folder / "expected.json").read_text())
    assert not Path(expected["must_not_create"]).exists()


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("MODEL_BASE_LIMIT__MAX_INPUTS", "did you mean MODEL_BASE_LIMITS?"),
        ("MODEL_BASE_4711", "accepted: MODEL_BASE_HOST"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_by_name(variable: str, hint: str) -> None:
    with pytest.raises(cli.UsageError, match=re.escape(f"{variable} is no setting; {hint}")):
        cli.refuse_unknown_variables({"PATH": "/bin", variable: "1"})


def test_variables_of_the_compose_file_and_nested_settings_pass() -> None:
    cli.refuse_unknown_variables({"MODEL_BASE_API_KEY": "k", "MODEL_BASE_LIMITS__MAX_INPUTS": "8"})
