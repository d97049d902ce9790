"""Several models made and loaded at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from model_base import BertConfig, BertModel, no_init_weights

Small = Callable[..., BertConfig]
DTYPES = (None, torch.float16, torch.bfloat16, torch.float32) * 8


def test_models_of_several_dtypes_are_loaded_at_once(small: Small, tmp_path: Path) -> None:
    BertModel(small()).save_pretrained(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        models = list(
            pool.map(lambda d: BertModel.from_pretrained(tmp_path, torch_dtype=d), DTYPES)
        )
    assert [model.dtype for model in models] == [d or torch.float32 for d in DTYPES]
    assert torch.get_default_dtype() is torch.float32


def test_weights_are_initialised_while_another_thread_does_without(small: Small) -> None:
    inside, done = threading.Event(), threading.Event()

    def without() -> None:
        with no_init_weights():
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=without)
    thread.start()
    inside.wait(10)
    try:
        model = BertModel(small(initializer_range=1e-9))
        assert model.pooler.dense.weight.abs().max() < 1e-6
    finally:
        done.set()
        thread.join()
