"""Dashboards and alerts ask only for what the service exposes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.core.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/model-base.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())

PROMQL = {"and", "by", "histogram_quantile", "increase", "rate", "sum"}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}
# What Prometheus adds to every scraped series.
ADDED = {"instance", "job"}
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*""')


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def exposed() -> dict[str, set[str]]:
    """Every series name the service exposes, with its labels."""
    metrics = Metrics()
    own = {m._name: set(m._labelnames) for m in vars(metrics).values() if hasattr(m, "_labelnames")}
    series = {"up": set(ADDED)}
    for family in metrics.registry.collect():
        for suffix in SUFFIXES.get(family.type, ()):
            le = {"le"} if suffix == "_bucket" else set()
            series[family.name + suffix] = own.get(family.name, set()) | ADDED | le
    return series


def parse(expression: str) -> tuple[set[str], set[str]]:
    """Names of the series and of the labels in an expression."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    labels = set(MATCHER.findall(bare))
    for listed in re.findall(r"\bby \(([^)]*)\)", bare):
        labels.update(listed.replace(" ", "").split(","))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", " ", bare)
    return set(re.findall(r"[a-zA-Z_]\w*", bare)) - PROMQL, labels


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_names_only_series_and_labels_that_exist(where: str, expression: str) -> None:
    series = exposed()
    names, labels = parse(expression)
    assert names, f"{where} asks for no series"
    assert names <= set(series), f"{where}: unknown series {names - set(series)}"
    known = set.union(*(series[name] for name in names))
    assert labels <= known, f"{where}: unknown labels {labels - known}"


@pytest.mark.parametrize(
    ("expression", "names", "labels"),
    [
        ("up", {"up"}, set()),
        (
            'sum by (a, le) (rate(x_total{b=~"c=d", e!="f"}[5m])) > 2',
            {"x_total"},
            set("abe") | {"le"},
        ),
        ("histogram_quantle(0.9, x_bucket)", {"histogram_quantle", "x_bucket"}, set()),
    ],
)
def test_names_and_labels_are_read_out_of_an_expression(
    expression: str, names: set[str], labels: set[str]
) -> None:
    assert parse(expression) == (names, labels)


def test_every_metric_of_a_model_has_a_panel() -> None:
    asked = set.union(*(parse(expression)[0] for _, expression in expressions()))
    names = [name for name in Metrics().registry._names_to_collectors if "model_base" in name]
    families = {re.sub("_(total|created|bucket|count|sum)$", "", name) for name in names}
    unused = {family for family in families if not any(a.startswith(family) for a in asked)}
    assert not unused
