"""What the files that other libraries wrote do not show of OPT."""

from pathlib import Path
from typing import Any

import torch

from model_base import OPTForCausalLM, OPTModel
from model_base.configs.opt import OPTConfig
from tests.model_base.torch.models.small import SMALL


def config(**fields: Any) -> Any:
    return SMALL[OPTConfig](**fields)


def test_positions_count_the_tokens_that_the_mask_keeps() -> None:
    model = OPTForCausalLM(config()).eval()
    ids = torch.randint(3, 61, (1, 5))
    padded = torch.nn.functional.pad(ids, (3, 0), value=1)
    mask = (torch.arange(8) >= 3).long()[None]
    first = model(padded[:, :6], attention_mask=mask[:, :6], use_cache=True)
    rest = model(padded[:, 6:], attention_mask=mask, past_key_values=first.past_key_values)
    whole = model(ids).logits
    torch.testing.assert_close(first.logits[:, 3:], whole[:, :3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rest.logits, whole[:, 3:], rtol=1e-4, atol=1e-5)


def test_only_configurations_older_than_4_20_lack_the_last_norm(tmp_path: Path) -> None:
    old = OPTModel(config(transformers_version="4.19.2"))
    old.save_pretrained(tmp_path)
    again = OPTModel.from_pretrained(tmp_path)
    assert old.decoder.final_layer_norm is None
    assert again.decoder.final_layer_norm is None
    for version in ("4.20.0", "4.57.3", "5.23.0", None):
        assert OPTModel(config(transformers_version=version)).decoder.final_layer_norm is not None
    after = OPTModel(config(do_layer_norm_before=False))
    assert after.decoder.final_layer_norm is None
