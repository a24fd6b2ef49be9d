# Steps on GPUs: vLLM and training. Build from the project's root:
#   docker build -f deploy/docker/gpu.Dockerfile -t YOUR_REGISTRY/dasd-gpu:TAG .
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04

ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap ca-certificates g++ git ninja-build \
        python3-pip \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --break-system-packages uv
WORKDIR /opt/dasd
ENV PYTHONPATH=/opt/dasd PYTHONUNBUFFERED=1 DAGSTER_HOME=/opt/dagster/dagster_home \
    PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv

# vLLM pins the torch of the GPU build, so that requirements/cpu.txt cannot be used here.
COPY . .
RUN uv venv --python 3.11 /opt/venv \
    && uv pip install ".[vllm,liger,kubernetes]" \
    && mkdir -p "$DAGSTER_HOME"
