"""The TensorFlow stack, on Keras 3."""

try:
    import keras
    import tensorflow as tf  # noqa: F401  # Keras needs it as backend
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed; TensorFlow models need it: "
        "pip install 'model-base[tensorflow]'"
    ) from error

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"keras uses the backend {keras.backend.backend()!r}; accepted: KERAS_BACKEND=tensorflow"
    )
