"""Write rotary_reference.json: what transformers computes for each kind of rotary embedding.

PEER/bin/python tests/data/make_rotary_reference.py   # transformers 5.23.0, torch 2.13.0
"""

import json
from pathlib import Path

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

KINDS = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
    "yarn, mscale": {"factor": 8.0, "original_max_position_embeddings": 16, "mscale": 0.7,
                     "mscale_all_dim": 1.2, "beta_fast": 16, "beta_slow": 2},
    "longrope": {"original_max_position_embeddings": 16, "factor": 4.0,
                 "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0]},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 16},
}  # fmt: skip
POSITIONS = {"short": list(range(6)), "long": [0, 3, 70, 99]}


def main() -> None:
    rows = []
    for name, options in KINDS.items():
        kind = name.partition(",")[0]
        for length, positions in POSITIONS.items():
            parameters = {"rope_type": kind, "rope_theta": 10000.0, **options}
            config = LlamaConfig(
                hidden_size=32,
                num_attention_heads=4,
                head_dim=8,
                max_position_embeddings=64,
                rope_parameters=dict(parameters),
            )
            cos, sin = LlamaRotaryEmbedding(config)(torch.ones(1), torch.tensor([positions]))
            rows.append(
                {
                    "name": name,
                    "length": length,
                    "positions": positions,
                    "rope": parameters,
                    "cos": cos[0].tolist(),
                    "sin": sin[0].tolist(),
                }
            )
    Path(__file__).with_name("rotary_reference.json").write_text(json.dumps(rows))


main()
