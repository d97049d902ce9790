"""Gate: model_base against the gold checkpoints that it is expected to read.

    python -m tests.conformance_gate [--shared FOLDER] [--write docs/compatibility.md]

Runs the measuring tool of ``FOLDER/conformance`` on the fixtures of ``EXPECTED``. Fails on every
check that fails or is skipped and that ``EXCUSED`` does not excuse, on every row of it that
excuses nothing, and on every fixture of which nothing passed. Ends with a table, fixture by
fixture, which ``--write`` puts into a file.
"""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Fixture globs, and the architectures among them that we have.
EXPECTED = ("pt_*", "v457_*", "v5_*", "sp_*", "tf1_*", "tokenizers/*", "tf_*", "v426_tf_*")
NEEDS_TENSORFLOW = ("tf_*", "v426_tf_*")
ARCHITECTURES = (
    "Albert*", "Bart*", "Bert*", "Camembert*", "CLIP*", "DistilBert*", "Electra*", "Gemma2*",
    "Gemma3*", "GPT2*", "GPTNeoX*", "Llama*", "Mistral*", "ModernBert*", "OPT*", "Qwen2*", "Qwen3*",
    "Roberta*", "Siglip*", "T5*", "ViT*", "Wav2Vec2*", "Whisper*", "XLMRoberta*",
)  # fmt: skip
FRAMEWORKS = "pt,sp,tf1,tok,tf"

# Stacks that may be absent; what needs one is then skipped.
NOT_INSTALLED = ("tf is not installed", "flax is not installed")

# (fixture glob, check glob): why the check may fail.
EXCUSED = {
    ("*", "generate*"): "generation is not written yet",
    ("*", "warpers*"): "logits processors come with generation",
    ("tf_albertmodel_h5", "save.sharded.files"): (
        "the whole model, 57,664 bytes, is below the 60 KB that the check asks of a shard"
    ),
    ("*albert*", "counts.floating_point_ops*"): (
        "shared layers are counted each time they run, as the docstring of 4.19 asks; 4.19 does not"
    ),
}

_ABOUT = (
    "# What loads, and what it gives",
    "",
    "Written by `python -m tests.conformance_gate --write docs/compatibility.md`. Each row is a",
    "checkpoint, or a tokenizer, that Transformers 4.19 to 5.23 wrote, read by model_base:",
    "outputs, weights, loading reports, dtypes, masks, counts, losses, gradients are compared.",
    "",
)

# Name of the check; True, False, "skip" or "n/a"; detail.
Result = tuple[str, object, str]


@dataclass(frozen=True)
class Failure:
    """One failing check."""

    fixture: str
    check: str
    detail: str


def main() -> int:
    """Run the gate; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table as Markdown")
    options = parser.parse_args()
    shared = options.shared.resolve()
    tool, fixtures = shared / "conformance" / "run.py", shared / "fixtures"
    if not tool.is_file():
        print(f"conformance: no gold checkpoints in {shared}: nothing measured (SHARED=FOLDER)")
        return 1 if os.environ.get("CI") else 0
    ours = architectures(fixtures)
    passed: dict[str, int] = {}
    failures: list[Failure] = []
    for pattern in expected():
        measured = measure(tool, pattern)
        missed = set(fnmatch.filter(ours, pattern)) - measured.keys()
        if missed or not measured.keys() & ours:
            failures.append(Failure(pattern, "EXPECTED", f"not measured: {sorted(missed)}"))
        for fixture in measured.keys() & ours:
            count, found = judge(fixture, measured[fixture])
            passed[fixture] = count
            failures += found
    rows = table(passed, failures)
    print("\n".join(rows))
    if options.write:
        options.write.write_text("\n".join([*_ABOUT, *rows, ""]), encoding="utf-8")
    return report(sum(passed.values()), failures)


def expected() -> list[str]:
    """The patterns of the stacks that are tested: the variable STACKS, all by default."""
    has_tensorflow = "tensorflow" in os.environ.get("STACKS", "tensorflow")
    return [p for p in EXPECTED if has_tensorflow or p not in NEEDS_TENSORFLOW]


def excuses() -> list[tuple[str, str]]:
    """The rows of ``EXCUSED`` but those of stacks that are not tested."""
    absent = set(EXPECTED) - set(expected())
    return [row for row in EXCUSED if not any(fnmatch.fnmatch(row[0], p) for p in absent)]


def architectures(fixtures: Path) -> set[str]:
    """Names of the fixtures whose architecture we have, and of all tokenizers."""
    manifest = json.loads((fixtures / "manifest.json").read_text())
    ours = {
        entry["name"]
        for entry in manifest["fixtures"]
        if any(fnmatch.fnmatch(name_of(entry), pattern) for pattern in ARCHITECTURES)
    }
    return ours | {entry["name"] for entry in manifest["tokenizers"]}


def name_of(entry: dict[str, str]) -> str:
    """The architecture's name, whatever the stack."""
    return entry["architecture"].removeprefix("TF")


def judge(fixture: str, results: list[Result]) -> tuple[int, list[Failure]]:
    """How many checks of a fixture passed, and what is wrong with it."""
    passed = sum(verdict is True for _, verdict, _ in results)
    failures = [
        Failure(fixture, check, f"{verdict}: {detail}" if verdict == "skip" else detail)
        for check, verdict, detail in results
        if verdict not in (True, "n/a") and not (verdict == "skip" and detail in NOT_INSTALLED)
    ]
    if not passed:
        failures.append(Failure(fixture, "EXPECTED", "no check of it passed"))
    return passed, failures


def measure(tool: Path, pattern: str) -> dict[str, list[Result]]:
    """Run the tool on the fixtures of one pattern: (check, verdict, detail) by fixture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "results.json")
        command = [sys.executable, str(tool), "--api", "model_base", "--framework", FRAMEWORKS,
                   "--only", pattern, "--json", str(out)]  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode not in (0, 1) or not out.exists():  # 1: it measured, and checks fail
            raise SystemExit(f"conformance: the tool ended early on {pattern}\n{done.stderr}")
        fixtures = json.loads(out.read_text())["fixtures"]
    return {name: [tuple(r) for r in entry["results"]] for name, entry in fixtures.items()}


def report(passed: int, failures: list[Failure]) -> int:
    """Print what is wrong and the count; returns the exit status."""
    excused = {row: [f for f in failures if matches(row, f)] for row in excuses()}
    open_failures = [f for f in failures if not any(f in found for found in excused.values())]
    for failure in open_failures:
        print(f"FAILED {failure.fixture} :: {failure.check}: {failure.detail}")
    unused = [row for row, found in excused.items() if not found]
    for row in unused:
        print(f"REMOVE from EXCUSED, nothing fails there any more: {row}: {EXCUSED[row]}")
    for reason, count in reasons(excused):
        print(f"excused: {count} checks, {reason}")
    print(f"conformance: {passed} checks passed, {len(open_failures)} failed")
    return 1 if open_failures or unused or not passed else 0


def table(passed: dict[str, int], failures: list[Failure]) -> list[str]:
    """A Markdown row for each fixture: how many checks pass, how many not, and why."""
    rows = ["| fixture | checks passed | not | why |", "|--|--|--|--|"]
    for fixture, count in sorted(passed.items()):
        missed = [failure for failure in failures if failure.fixture == fixture]
        why = {EXCUSED[row] for row in EXCUSED for f in missed if matches(row, f)}
        rows.append(f"| {fixture} | {count} | {len(missed) or ''} | {'; '.join(sorted(why))} |")
    return rows


def matches(row: tuple[str, str], failure: Failure) -> bool:
    """Whether a row of ``EXCUSED`` excuses a failure."""
    return fnmatch.fnmatch(failure.fixture, row[0]) and fnmatch.fnmatch(failure.check, row[1])


def reasons(excused: dict[tuple[str, str], list[Failure]]) -> Iterator[tuple[str, int]]:
    """Each reason with the checks it excuses."""
    for reason in dict.fromkeys(EXCUSED.values()):
        found = {f for row, fs in excused.items() if EXCUSED[row] == reason for f in fs}
        yield reason, len(found)


if __name__ == "__main__":
    sys.exit(main())
