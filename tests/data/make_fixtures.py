"""Choose the gold checkpoints that are committed: every architecture and every format once.

python -m tests.data.make_fixtures FOLDER   # of all gold checkpoints; writes tests/fixtures
"""

import json
import shutil
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "fixtures"
CHOSEN = (
    "pt_bertmodel_bin_sharded", "pt_bertmodel_bin_legacy", "v457_bertmodel_st_sharded",
    "tf_bertmodel_h5", "v426_tf_bertformaskedlm_h5_sharded",
    "v426_tf_bertforsequenceclassification_st_tf", "flax_bertmodel_msgpack",
    "v426_flax_bertmodel_msgpack_sharded", "tf1_bertforpretraining",
    "v457_robertaformaskedlm_st_fp16_nodtype",
    "v5_xlmrobertaforsequenceclassification_st_fp16_nodtype", "v5_camembertformaskedlm_st_bf16",
    "pt_distilbertforsequenceclassification_bin", "flax_albertmodel_msgpack",
    "pt_electraforpretraining_bin", "v5_modernbertformaskedlm_st", "v457_gpt2lmheadmodel_st",
    "tf_gpt2lmheadmodel_h5", "v5_optforcausallm_st", "v457_gptneoxforcausallm_st",
    "v457_llamaforcausallm_st", "v457_mistralforcausallm_st_bf16",
    "v457_qwen2forcausallm_st_sharded", "v5_qwen3forcausallm_st_bf16",
    "v457_gemma2forcausallm_st", "v457_gemma3forcausallm_st_bf16_torchdtypekey",
    "v457_t5forconditionalgeneration_st", "flax_bartforconditionalgeneration_msgpack",
    "v457_vitforimageclassification_st_bf16_torchdtypekey", "flax_clipmodel_msgpack",
    "v457_siglipmodel_st", "v457_wav2vec2forctc_st", "v457_whisperforconditionalgeneration_st",
)  # fmt: skip

TOKENIZERS = ("albert", "camembert", "gemma", "llama")  # small, with a SentencePiece model


def main() -> None:
    """Copy the chosen ones with their rows of the manifest."""
    source = Path(sys.argv[1])
    manifest = json.loads((source / "manifest.json").read_text())
    shutil.rmtree(TARGET, ignore_errors=True)
    for name in CHOSEN:
        shutil.copytree(source / name, TARGET / name)
    for name in TOKENIZERS:
        shutil.copytree(source / "tokenizers" / name, TARGET / "tokenizers" / name)
    rows = [row for row in manifest["fixtures"] if row["name"] in CHOSEN]
    text = json.dumps({**manifest, "fixtures": rows, "tokenizers": []}, indent=1)
    (TARGET / "manifest.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
