import json
from pathlib import Path
from typing import Any

import pytest

from model_base.tokenization.json_files import UnreadableFile
from service.core.work import Pooling
from service.tasks.sentence_transformers import (
    SentenceTransformersConfig,
    UnsupportedModule,
    read_sentence_transformers,
)

OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}
OLD_POOLING = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}
NEW_POOLING = {"embedding_dimension": 8, "pooling_mode": "mean", "include_prompt": True}


def modules(*types: str) -> list[dict[str, Any]]:
    paths = ["" if name.endswith("Transformer") else f"{i}_M" for i, name in enumerate(types)]
    return [
        {"idx": i, "path": p, "type": t} for i, (p, t) in enumerate(zip(paths, types, strict=True))
    ]


def old(*kinds: str) -> list[dict[str, Any]]:
    return modules(*(OLD + kind for kind in kinds))


def write(folder: Path, name: str, content: object) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def make(
    folder: Path,
    *,
    listed: object = None,
    pooling: object = OLD_POOLING,
    transformer: object = None,
    prompts: object = None,
) -> Path:
    write(folder, "modules.json", listed or old("Transformer", "Pooling", "Normalize"))
    write(folder, "1_M/config.json", pooling)
    if transformer is not None:
        write(folder, "sentence_bert_config.json", transformer)
    if prompts is not None:
        write(folder, "config_sentence_transformers.json", prompts)
    return folder


def test_a_folder_without_modules_json_is_none(tmp_path: Path) -> None:
    assert read_sentence_transformers(tmp_path) is None


def test_the_embedded_model_is_read(minilm: Path) -> None:
    assert read_sentence_transformers(minilm) == SentenceTransformersConfig(
        folder=minilm, pooling=Pooling(("mean",)), normalize=True, max_length=256
    )


def test_the_layout_of_version_6_is_read(tmp_path: Path) -> None:
    make(
        tmp_path,
        listed=modules(*NEW.values()),
        pooling=NEW_POOLING,
        transformer={
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
        },
        prompts={
            "__version__": {"sentence_transformers": "6.2.0"},
            "default_prompt_name": "query",
            "model_type": "SentenceTransformer",
            "prompts": {"document": "", "query": "query: "},
            "similarity_fn_name": "cosine",
        },
    )
    write(
        tmp_path,
        "2_M/config.json",
        {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"},
    )
    assert read_sentence_transformers(tmp_path) == SentenceTransformersConfig(
        folder=tmp_path,
        pooling=Pooling(("mean",)),
        normalize=True,
        prompts={"document": "", "query": "query: "},
        default_prompt_name="query",
    )


def test_without_normalize_vectors_keep_their_length(tmp_path: Path) -> None:
    config = read_sentence_transformers(make(tmp_path, listed=old("Transformer", "Pooling")))
    assert config is not None
    assert not config.normalize


def test_the_transformer_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    listed = old("Transformer", "Pooling")
    listed[0]["path"] = "0_Transformer"
    make(tmp_path, listed=listed)
    write(tmp_path, "0_Transformer/sentence_roberta_config.json", {"max_seq_length": 128})
    config = read_sentence_transformers(tmp_path)
    assert config is not None
    assert config.folder == tmp_path / "0_Transformer"
    assert config.max_length == 128


@pytest.mark.parametrize(
    ("pooling", "modes"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"pooling_mode_weightedmean_tokens": True}, ("weightedmean",)),
        ({"pooling_mode_lasttoken": True, "pooling_mode_max_tokens": True}, ("max", "lasttoken")),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt_len_tokens",)),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False}, ("mean",)),
        ({"pooling_mode": "lasttoken"}, ("lasttoken",)),
        ({"pooling_mode": ["mean", "cls"]}, ("mean", "cls")),
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, ("cls",)),
        ({"embedding_dimension": 8}, ("mean",)),
    ],
)
def test_pooling_modes_of_both_layouts(
    tmp_path: Path, pooling: dict[str, Any], modes: tuple[str, ...]
) -> None:
    config = read_sentence_transformers(make(tmp_path, pooling=pooling))
    assert config is not None
    assert config.pooling == Pooling(modes)


def test_lower_casing_is_read(tmp_path: Path) -> None:
    config = read_sentence_transformers(make(tmp_path, transformer={"do_lower_case": True}))
    assert config is not None
    assert config.do_lower_case


@pytest.mark.parametrize(
    "kind", ["Dense", "LayerNorm", "CNN", "Dropout", "LSTM", "WordWeights", "Router", "Asym"]
)
def test_a_module_that_is_not_implemented_is_named(tmp_path: Path, kind: str) -> None:
    make(tmp_path, listed=old("Transformer", "Pooling", kind))
    with pytest.raises(UnsupportedModule, match=f"models.{kind}' is not supported"):
        read_sentence_transformers(tmp_path)


@pytest.mark.parametrize("name", ["custom_code.Pooling", "Pooling", "os.system", None, 3])
def test_a_module_of_another_package_is_named(tmp_path: Path, name: object) -> None:
    make(tmp_path, listed=[{"path": "", "type": OLD + "Transformer"}, {"path": "", "type": name}])
    with pytest.raises(UnsupportedModule, match="module type"):
        read_sentence_transformers(tmp_path)


@pytest.mark.parametrize(
    "kinds",
    [("Transformer",), ("Pooling", "Transformer"), ("Transformer", "Normalize", "Pooling")],
)
def test_another_order_of_modules_is_refused(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    make(tmp_path, listed=old(*kinds))
    with pytest.raises(UnsupportedModule, match=f"modules {', '.join(kinds)}; accepted"):
        read_sentence_transformers(tmp_path)


@pytest.mark.parametrize("content", ["{}", "[1]", '"x"', "3"])
def test_modules_json_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(UnsupportedModule, match="list of modules"):
        read_sentence_transformers(tmp_path)


def test_modules_json_nested_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[" * 200_000)
    with pytest.raises(UnreadableFile, match=r"modules\.json"):
        read_sentence_transformers(tmp_path)


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/etc", "C:\\x", "a\\..\\b", 3, None])
def test_a_module_path_outside_the_folder_is_refused(tmp_path: Path, path: object) -> None:
    listed = old("Transformer", "Pooling")
    listed[1]["path"] = path
    make(tmp_path, listed=listed)
    with pytest.raises(UnsupportedModule, match="is not inside the model"):
        read_sentence_transformers(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    model, outside = tmp_path / "model", tmp_path / "outside"
    make(model)
    write(outside, "config.json", OLD_POOLING)
    (model / "3_Link").symlink_to(outside)
    listed = old("Transformer", "Pooling")
    listed[1]["path"] = "3_Link"
    write(model, "modules.json", listed)
    with pytest.raises(UnsupportedModule, match="'3_Link' is not inside the model"):
        read_sentence_transformers(model)


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "3_Link").symlink_to("3_Link")
    listed = old("Transformer", "Pooling")
    listed[1]["path"] = "3_Link"
    with pytest.raises(UnsupportedModule, match="'3_Link' is not inside the model"):
        read_sentence_transformers(make(tmp_path, listed=listed))


@pytest.mark.parametrize("index", [0, 1])
def test_a_module_whose_path_the_system_refuses_has_no_settings(tmp_path: Path, index: int) -> None:
    listed = old("Transformer", "Pooling")
    listed[index]["path"] = "x" * 300
    make(tmp_path, listed=listed)
    if index:
        with pytest.raises(UnsupportedModule, match="has no settings"):
            read_sentence_transformers(tmp_path)
    else:
        assert read_sentence_transformers(tmp_path)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"pooling": {"pooling_mode_new_tokens": True}}, "pooling_mode_new_tokens=True"),
        ({"pooling": {"pooling_mode": "median"}}, "pooling_mode .*median"),
        ({"pooling": {"pooling_mode": ["mean", 3]}}, "1_M/config.json: pooling_mode"),
        ({"pooling": {"pooling_mode": ["mean", "mean"]}}, "pooling_mode .*accepted, each once"),
        ({"pooling": {"pooling_mode": ["cls"] * 9999}}, "pooling_mode .*accepted, each once"),
        ({"pooling": {"pooling_mode": 3}}, "1_M/config.json: pooling_mode 3"),
        ({"pooling": {"pooling_mode": {"mean": True}}}, "pooling_mode .*mean"),
        ({"pooling": {"pooling_mode_cls_token": "false"}}, "pooling_mode_cls_token='false'"),
        ({"pooling": {**NEW_POOLING, "include_prompt": "no"}}, "include_prompt='no'"),
        ({"transformer": {"do_lower_case": "x"}}, "sentence_bert_config.json: do_lower_case='x'"),
        ({"pooling": {**NEW_POOLING, "include_prompt": False}}, "include_prompt=false"),
        ({"pooling": {}}, "no settings"),
        ({"transformer": {"max_seq_length": 0}}, "max_seq_length=0"),
        ({"transformer": {"max_seq_length": "256"}}, "max_seq_length='256'"),
        ({"transformer": {"tokenizer_args": {"x": 1}}}, "tokenizer_args="),
        ({"transformer": {"transformer_task": "fill-mask"}}, "transformer_task='fill-mask'"),
        ({"transformer": {"query_length": 32}}, "query_length=32"),
        ({"prompts": {"truncate_dim": 64}}, "truncate_dim=64"),
        ({"prompts": {"model_type": "SparseEncoder"}}, "model_type='SparseEncoder'"),
        ({"prompts": {"prompts": ["x"]}}, "prompts must map"),
        ({"prompts": {"prompts": {"a": 1}}}, "prompts must map"),
        ({"prompts": {"default_prompt_name": "x"}}, "default_prompt_name='x'"),
        ({"prompts": {"default_prompt_name": ["x"]}}, "default_prompt_name=.'x'"),
    ],
)
def test_a_setting_that_is_not_honoured_is_named(
    tmp_path: Path, changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnsupportedModule, match=named):
        read_sentence_transformers(make(tmp_path, **changed))


def test_normalizing_anything_but_the_pooled_vector_is_refused(tmp_path: Path) -> None:
    write(make(tmp_path), "2_M/config.json", {"module_input_name": "token_embeddings"})
    with pytest.raises(UnsupportedModule, match="module_input_name='token_embeddings'"):
        read_sentence_transformers(tmp_path)
