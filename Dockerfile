# Tubeflow with Prefect: the one image of the server, the worker and the set-up in docker-compose.yml.
FROM python:3.11.13-slim-bookworm

# OpenCV opens these when it is imported; PyAV, HDF5 and torch bring their own libraries.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/tubeflow
COPY requirements/run.txt requirements/run.txt
# Wheels whose bytes requirements/run.txt names, without torch's block of them.
RUN awk '/^[a-z]/ { torch = /^(torch|torchvision|triton)==|^(cuda-|nvidia-[^m])/ } !torch' requirements/run.txt > /tmp/locked.txt \
 && pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: --requirement /tmp/locked.txt
# Torch comes without hashes, from its own index, which builds the same version anew for each kind of machine: for the
# CPU here, a tenth of the size. For a GPU: --build-arg TORCH_INDEX=…/whl/cuXYZ, the one of pytorch.org that fits your
# driver. The versions are those of run.txt; what torch needs beside them (CUDA's libraries) is that index's own.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --only-binary=:all: --index-url "$TORCH_INDEX" \
      $(grep --only-matching --extended-regexp '^torch(vision)?==[0-9.]+' requirements/run.txt)
COPY pyproject.toml README.md LICENSE ./
COPY tubeflow tubeflow
COPY flows flows
COPY tasks tasks
COPY models models
COPY data_catalog data_catalog
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index . && pip check
COPY prefect.yaml ./

RUN useradd --create-home --uid 1000 tubeflow \
 && mkdir --parents /workspace /home/tubeflow/.prefect \
 && chown --recursive tubeflow /workspace /home/tubeflow/.prefect
USER tubeflow
ENV PREFECT_HOME=/home/tubeflow/.prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1 \
    PYTHONUNBUFFERED=1 \
    TUBEFLOW_WORKSPACE=/workspace
VOLUME /workspace
CMD ["tubeflow", "--help"]
