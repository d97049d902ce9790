"""A framework that takes no time to import, in real template and worker processes."""

from pathlib import Path

import pytest

# Python runs this first in every process, so the template finds its runner already imported. The
# ids of a sequence say what the model does: 1 answers, 9 kills the process, 13 raises.
_SITE = """
import sys, types

def _runner():
    import os, signal
    import numpy as np
    from service.core.messages import ModelFacts, ModelStats
    from service.worker.runners.base import InputRejected

    class Runner:
        facts = ModelFacts("Fake", "torch", "float32", "cpu", "feature-extraction", 1, 4, 64)

        @classmethod
        def preload(cls):
            pass

        @classmethod
        def load(cls, order, progress):
            if order.folder == "die":
                os._exit(3)
            if order.folder == "hang":
                signal.pause()
            if order.folder == "fail":
                raise OSError(2, "No such file", "/srv/secret")
            progress(1, 2)
            return cls()

        def warm_up(self):
            pass

        num_lanes = 2

        def run(self, batch, num_threads):
            for item in batch:
                match int(item.input_ids[0]):
                    case 9:
                        os.kill(os.getpid(), signal.SIGKILL)
                    case 13:
                        raise RuntimeError("secret")
                    case 14:
                        raise InputRejected("14 is not taken")
            return [{"embedding": np.full(2, os.getpid(), np.int64)} for _ in batch]

        def stats(self, batch_size, sequence_length):
            if sequence_length > 64:
                raise InputRejected("sequence_length is over 64")
            return ModelStats(1, 1, 1, {}, batch_size, sequence_length, {}, 1, 1, 1)

    return Runner

class _Fake(types.ModuleType):
    def __getattr__(self, name):
        if name != "RUNNER":
            raise AttributeError(name)
        self.RUNNER = _runner()
        return self.RUNNER

if "service.worker" in sys.orig_argv:
    name = "service.worker.runners.torch"
    sys.modules[name] = _Fake(name)
"""


@pytest.fixture
def quick_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
