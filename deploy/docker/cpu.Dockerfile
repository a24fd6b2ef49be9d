# Webserver, daemon's code location and CPU steps. Build from the project's root:
#   docker build -f deploy/docker/cpu.Dockerfile -t YOUR_REGISTRY/dasd:TAG .
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap g++ git ninja-build \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/dasd
ENV PYTHONPATH=/opt/dasd PYTHONUNBUFFERED=1 DAGSTER_HOME=/opt/dagster/dagster_home

# The CPU build of torch is not on the default index: name the index that has it when you build.
ARG PIP_FIND_LINKS=""
COPY requirements/cpu.txt requirements/cpu.txt
RUN pip install --no-cache-dir --no-deps -r requirements/cpu.txt

COPY . .
RUN pip install --no-cache-dir ".[kubernetes]" && mkdir -p "$DAGSTER_HOME"
