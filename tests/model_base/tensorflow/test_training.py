"""compile, fit, and taking up a training again."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import keras  # noqa: E402

from model_base import (  # noqa: E402
    BertConfig,
    TFBertForPreTraining,
    TFBertForSequenceClassification,
    TFBertForTokenClassification,
)
from model_base.errors import CheckpointUnreadable  # noqa: E402

Still = Callable[..., BertConfig]
IDS = np.array([[5, 6, 7], [8, 9, 1], [4, 3, 2], [7, 7, 7]], np.int32)
LABELS = np.array([0, 1, 2, 0], np.int32)


@pytest.fixture
def model(still: Still) -> Any:
    model = TFBertForSequenceClassification(still(num_labels=3))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


def test_fit_lowers_the_model_s_own_loss(model: Any) -> None:
    history = model.fit({"input_ids": IDS, "labels": LABELS}, epochs=5, batch_size=4, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert set(history.history) == {"loss"}


def test_labels_beside_the_inputs_are_labels_among_them(model: Any) -> None:
    inside = model.evaluate({"input_ids": IDS, "labels": LABELS}, verbose=0)
    assert model.evaluate({"input_ids": IDS}, LABELS, verbose=0) == pytest.approx(inside)
    assert model.evaluate({"input_ids": IDS}, {"labels": LABELS}, verbose=0) == pytest.approx(
        inside
    )
    assert model.evaluate(IDS, LABELS, verbose=0) == pytest.approx(inside)


def test_a_keras_loss_is_computed_on_the_logits(still: Still) -> None:
    model = TFBertForSequenceClassification(still(num_labels=3))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss, metrics=["accuracy"])
    logs = model.evaluate({"input_ids": IDS}, LABELS, verbose=0, return_dict=True)
    logits = model({"input_ids": IDS}).logits
    assert logs["loss"] == pytest.approx(float(loss(LABELS, logits)), rel=1e-5)
    assert logs["accuracy"] == np.mean(np.argmax(logits, -1) == LABELS)


def test_predict_gives_the_output_by_name(model: Any) -> None:
    predicted = model.predict({"input_ids": IDS}, batch_size=2, verbose=0)
    np.testing.assert_allclose(
        predicted["logits"], model({"input_ids": IDS}).logits, rtol=1e-5, atol=1e-5
    )


def test_metrics_need_another_loss_and_labels_are_needed(model: Any, still: Still) -> None:
    with pytest.raises(ValueError, match="the model's own loss has none"):
        model.compile(optimizer="sgd", metrics=["accuracy"])
    with pytest.raises(ValueError, match="labels among the inputs"):
        model.test_step(({"input_ids": IDS},))
    both = TFBertForPreTraining(still())
    both.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="accepted: a mapping of labels, next_sentence_label"):
        both.test_step(({"input_ids": IDS}, LABELS))


def test_a_scaled_loss_trains_as_much(still: Still) -> None:
    changes = []
    for scaled in (False, True):
        keras.utils.set_random_seed(0)
        model = TFBertForSequenceClassification(still(num_labels=3))
        optimizer = keras.optimizers.SGD(0.1)
        scaling = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
        model.compile(optimizer=scaling)
        before = model.classifier.kernel.numpy()
        model.fit({"input_ids": IDS, "labels": LABELS}, batch_size=4, verbose=0)
        changes.append(model.classifier.kernel.numpy() - before)
    np.testing.assert_allclose(*changes, rtol=1e-3, atol=1e-6)


def test_dropout_is_for_training_alone(still: Still) -> None:
    model = TFBertForSequenceClassification(still(num_labels=3, classifier_dropout=0.9))
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    data = ({"input_ids": IDS, "labels": LABELS},)
    without = float(tf.reduce_mean(model(data[0]).loss))
    seen = []
    for step in (model.test_step, model.test_step, model.train_step, model.train_step):
        model.reset_metrics()
        seen.append(float(step(data)["loss"]))
    assert seen[:2] == pytest.approx([without] * 2, rel=1e-5)
    assert len({round(loss, 4) for loss in seen}) == 3


def test_penalties_of_weights_are_part_of_the_loss(model: Any) -> None:
    data = {"input_ids": IDS, "labels": LABELS}
    before = float(model.test_step((data,))["loss"])
    kernel = model.classifier.kernel
    kernel.regularizer = keras.regularizers.L2(2.0)
    penalty = 2 * float(np.sum(kernel.numpy() ** 2))
    model.reset_metrics()
    assert float(model.test_step((data,))["loss"]) == pytest.approx(before + penalty, rel=1e-5)


def test_a_token_labelled_minus_one_does_not_count(still: Still) -> None:
    model = TFBertForTokenClassification(still(num_labels=3))
    labels = np.array([[0, -1, 2], [-1, -1, 1], [0, 1, 2], [2, 2, 2]])
    old, new = (model(IDS, labels=tf.constant(np.where(labels < 0, n, labels))).loss
                for n in (-1, -100))  # fmt: skip
    assert old.shape == (9,)
    np.testing.assert_allclose(old, new, rtol=1e-6)


def test_weights_of_samples_need_another_loss(model: Any) -> None:
    with pytest.raises(ValueError, match="accepted: weights with another loss"):
        model.fit({"input_ids": IDS}, LABELS, sample_weight=np.zeros(4), verbose=0)


def test_what_was_traced_before_a_resize_is_traced_anew(model: Any) -> None:
    model.predict({"input_ids": IDS}, verbose=0)
    model.resize_token_embeddings(70)
    model.get_input_embeddings().weight.assign(tf.zeros((70, 32)))
    predicted = model.predict({"input_ids": IDS}, verbose=0)["logits"]
    np.testing.assert_allclose(predicted, model({"input_ids": IDS}).logits, rtol=1e-5, atol=1e-5)
    model.set_input_embeddings(tf.ones((70, 32)))
    again = model.predict({"input_ids": IDS}, verbose=0)["logits"]
    np.testing.assert_allclose(again, model({"input_ids": IDS}).logits, rtol=1e-5, atol=1e-5)


class Ran:
    """Would leave a trace if it were unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_a_training_is_taken_up_without_unpickling(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoint"
    model.save_pretrained(folder)
    (folder / "tf_model.h5").rename(folder / "weights.h5")
    extra = {"epoch": 7, "optimizer_state": [np.ones(2), Ran()]}
    (folder / "extra_data.pickle").write_bytes(pickle.dumps(extra))
    kernel = model.classifier.kernel.numpy()
    model.classifier.kernel.assign(kernel * 0)
    assert model.load_repo_checkpoint(tmp_path) == {"epoch": 7}
    assert np.array_equal(model.classifier.kernel.numpy(), kernel)
    assert not (tmp_path / "ran").exists()


def test_what_a_training_lacks_is_named(model: Any, still: Still, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="needs a compiled model"):
        TFBertForSequenceClassification(still()).load_repo_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"weights\.h5 is not there"):
        model.load_repo_checkpoint(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    for name in ("weights.h5", "extra_data.pickle"):
        (tmp_path / "checkpoint" / name).write_bytes(pickle.dumps({"epochs": 1}))
    with pytest.raises(CheckpointUnreadable, match="it has no epoch"):
        model.load_repo_checkpoint(tmp_path)
