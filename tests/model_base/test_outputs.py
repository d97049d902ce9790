"""What models return: a mapping, a tuple and attributes in one."""

import pytest

from model_base.outputs import MaskedLMOutput, ModelOutput


def test_it_is_read_by_name_by_attribute_and_by_position() -> None:
    output = MaskedLMOutput(logits=1, attentions=2)
    assert (output["logits"], output.logits, output[0], output[1]) == (1, 1, 1, 2)
    assert output[:2] == output.to_tuple() == (1, 2)


def test_what_is_none_is_an_attribute_but_no_entry() -> None:
    output = MaskedLMOutput(logits=1)
    assert output.loss is None
    assert (list(output), len(output), "loss" in output) == (["logits"], 1, False)
    with pytest.raises(KeyError):
        output["loss"]


def test_setting_an_entry_and_an_attribute_is_the_same() -> None:
    output = MaskedLMOutput(logits=1)
    output.logits = 2
    assert output["logits"] == 2
    output["loss"] = 3
    assert output.loss == 3


def test_entries_are_not_deleted() -> None:
    output = MaskedLMOutput(logits=1)
    with pytest.raises(TypeError, match="entries of MaskedLMOutput cannot be deleted"):
        del output["logits"]


def test_its_names_are_its_fields_in_order() -> None:
    assert MaskedLMOutput.names() == ["loss", "logits", "hidden_states", "attentions"]
    assert issubclass(MaskedLMOutput, ModelOutput)
