"""sentence-transformers behind a plain FastAPI route. ``BENCH_MODEL`` is the model folder.

Run by the peer's interpreter: ``python -m uvicorn st_fastapi:app`` from this folder.
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

app = FastAPI()
model = SentenceTransformer(os.environ["BENCH_MODEL"], device="cpu")


class Body(BaseModel):
    """Texts to embed."""

    inputs: list[str]


@app.get("/health")
def health() -> dict[str, str]:
    """Answer as soon as the model is loaded."""
    return {"status": "ok"}


@app.post("/embed")
def embed(body: Body) -> list[list[float]]:
    """Embed as sentence-transformers does by default."""
    vectors: list[list[float]] = model.encode(body.inputs).tolist()
    return vectors
