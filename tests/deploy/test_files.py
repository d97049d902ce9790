"""The deployment files fit each other and the tree."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from service.app import create_service
from service.core.settings import Settings, WorkerSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/model-base.json").read_text())
PROVISIONING = ROOT / "deploy/grafana/provisioning"
ENTRYPOINT = ROOT / "deploy/entrypoint"


def mounts() -> list[str]:
    volumes = [v for service in COMPOSE["services"].values() for v in service.get("volumes", ())]
    return [volume.split(":")[0] for volume in volumes if volume.startswith("./")]


def targets(service: str) -> dict[str, str]:
    """What is mounted into a service from the tree, by where it is there."""
    volumes = [volume.split(":") for volume in COMPOSE["services"][service]["volumes"]]
    return {target: source for source, target, *_ in volumes if source.startswith("./")}


def dockerfile_variables() -> dict[str, str]:
    text = (ROOT / "Dockerfile").read_text()
    return {name: value.strip("'") for name, value in re.findall(r"(MODEL_BASE_\w+)=(\S+)", text)}


@pytest.mark.parametrize("path", mounts())
def test_compose_mounts_files_that_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_compose_publishes_on_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][name]["ports"])


def test_compose_gives_the_service_more_time_to_leave_than_it_needs() -> None:
    seconds = int(COMPOSE["services"]["model-base"]["stop_grace_period"].removesuffix("s"))
    assert seconds > WorkerSettings().grace_s


def test_compose_gives_the_key_as_the_settings_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    value = COMPOSE["services"]["model-base"]["environment"]["MODEL_BASE_AUTH__API_KEYS"]
    key = re.sub(r"\$\{MODEL_BASE_API_KEY:\?[^}]*\}", "a-secret", value)
    monkeypatch.setenv("MODEL_BASE_AUTH__API_KEYS", key)
    assert [k.get_secret_value() for k in Settings().auth.api_keys] == ["a-secret"]


def test_the_image_sets_what_the_settings_read(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dockerfile_variables()
    variables.pop("MODEL_BASE_AUTH__API_KEYS")  # of the comment
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.host, settings.port) == ("0.0.0.0", 8000)
    assert settings.model_folders == (Path("/models"),)


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    last_stage = re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text())[-1]
    users = re.findall(r"(?m)^USER (\S+)$", last_stage)
    assert users
    assert int(users[-1].split(":")[0]) > 0
    assert "user" not in COMPOSE["services"]["model-base"]


def test_the_image_asks_a_route_of_the_service_for_its_health() -> None:
    (path,) = re.findall(r"urlopen\(.*?\+ '(/[^']*)'", (ROOT / "Dockerfile").read_text())
    assert "get" in create_service(Settings()).app.openapi()["paths"][path]


def test_prometheus_is_given_its_files_where_it_looks_for_them() -> None:
    (path,) = re.findall(
        r"--config\.file=(\S+)", COMPOSE["services"]["prometheus"]["entrypoint"][-1]
    )
    mounted = targets("prometheus")
    assert mounted[path] == "./deploy/prometheus/prometheus.yml"
    config = yaml.safe_load((ROOT / mounted[path]).read_text())
    (rules,) = config["rule_files"]
    assert mounted[str(Path(path).parent / rules)] == "./deploy/prometheus/rules.yml"


def test_grafana_is_given_what_is_provisioned_where_it_looks_for_it() -> None:
    assert targets("grafana")["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"


@pytest.mark.parametrize(
    "path",
    ["prometheus/rules.yml", "prometheus/rules_test.yml", "grafana/dashboards/model-base.json"],
)
def test_the_job_asked_for_is_the_one_that_is_scraped(path: str) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    text = (ROOT / "deploy" / path).read_text()
    asked = set(re.findall(r'job=\\?"([^"\\]+)', text))
    assert asked == {job["job_name"] for job in config["scrape_configs"]}


def test_prometheus_reads_the_key_from_where_compose_puts_it() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    path = job["authorization"]["credentials_file"]
    assert f"> {path}\n" in COMPOSE["services"]["prometheus"]["entrypoint"][-1]


def test_prometheus_scrapes_the_service_of_compose() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert name in COMPOSE["services"]
    assert dockerfile_variables()["MODEL_BASE_PORT"] == port


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"])
               for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= own


def test_every_panel_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((PROVISIONING / "datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = DASHBOARD["templating"]["list"]
    asked = {each["datasource"]["uid"] for each in [*DASHBOARD["panels"], *targets, *variables]}
    assert asked == {source["uid"]}


def test_grafana_finds_the_dashboard_where_compose_mounts_it() -> None:
    provider = yaml.safe_load((PROVISIONING / "dashboards/model-base.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    volumes = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in volumes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "serve"),
        (["--dtype", "bfloat16"], "serve --dtype bfloat16"),
        (["serve", "/models/a b"], "serve /models/a b"),
        (["inspect", "/models/a"], "inspect /models/a"),
    ],
)
def test_the_entrypoint_becomes_the_service(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    fake = tmp_path / "model-base"
    fake.write_text('#!/bin/sh\necho "$$ $*"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [ENTRYPOINT, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    output, _ = process.communicate()
    assert output == f"{process.pid} {expected}\n"
