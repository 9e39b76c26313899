# docker build -t deblurlab .                              CPU, 107 packages
# docker build -t deblurlab --build-arg DEVICE=cuda .      NVIDIA GPU, all packages of requirements.lock with their hashes
# docker run --rm -v "$PWD/runs:/deblurlab/runs" deblurlab             make demo; with --gpus all on a GPU
# docker run --rm -v "$PWD/runs:/deblurlab/runs" deblurlab deblurlab train model=unet_res_small loss=l1
ARG PYTHON=3.11
ARG DEVICE=cpu

FROM python:${PYTHON}-slim AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Versions of Debian's packages depend on the date of the base image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /deblurlab
ENV PATH=/deblurlab/.venv/bin:$PATH PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
COPY pyproject.toml requirements.lock Makefile README.md LICENSE ./
COPY src src

# Builds of torch for CPUs have other hashes than those in requirements.lock, but the same versions. The marker tells
# make that everything is installed.
FROM base AS cpu
RUN version=$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock) \
    && python -m venv /opt/uv \
    && /opt/uv/bin/pip install --quiet "$version" \
    && python -m venv .venv \
    && /opt/uv/bin/uv pip install --python .venv --torch-backend cpu --no-verify-hashes \
        --constraint requirements.lock --editable . \
    && touch .venv/.ready

FROM base AS cuda
RUN make .venv/.ready

# hadolint ignore=DL3006
FROM ${DEVICE}
WORKDIR /deblurlab
COPY conf conf
COPY sweeps sweeps
COPY train.py evaluate.py ./
CMD ["make", "demo"]
