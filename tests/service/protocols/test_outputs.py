import ml_dtypes
import numpy as np
import orjson
import pytest

from service.core.errors import BackendFailed, UnsupportedInput
from service.core.messages import InferResponse
from service.protocols.base import JsonResponse
from service.protocols.outputs import jsonable, vectors


def written(value):
    return orjson.loads(JsonResponse(jsonable(value)).body)


def response(outputs):
    return InferResponse("mini", "1", "feature-extraction", outputs, 1)


def test_what_json_cannot_write_becomes_its_name():
    array = np.array([[1.5, np.nan], [np.inf, -np.inf]], np.float32)
    assert written({"a": array}) == {"a": [[1.5, "NaN"], ["Infinity", "-Infinity"]]}
    assert written([{"score": float("nan")}, np.float32("inf")]) == [{"score": "NaN"}, "Infinity"]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_, ml_dtypes.bfloat16]
)
def test_every_dtype_is_written(dtype):
    assert written(np.array([[0, 1], [1, 0]], dtype)) == [[0, 1], [1, 0]]
    assert written(np.array(1, dtype)) == 1


def test_a_strided_array_is_written_in_its_order():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert written(array.T) == [[0, 3], [1, 4], [2, 5]]
    assert JsonResponse({"a": array.T}).body == b'{"a":[[0.0,3.0],[1.0,4.0],[2.0,5.0]]}'


def test_vectors_are_two_dimensional_or_refused():
    assert vectors(response(np.ones((2, 3), np.float64))).dtype == np.float32
    with pytest.raises(
        UnsupportedInput, match=r"'mini' has no pooling .*/models/mini/predict; acc"
    ):
        vectors(response([np.ones((2, 3))]))


def test_a_vector_that_is_not_finite_is_an_error_not_an_answer():
    with pytest.raises(BackendFailed, match="not finite"):
        vectors(response(np.array([[1.0, np.nan]], np.float32)))
