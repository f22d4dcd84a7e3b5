# Tubeflow with Prefect: the one image of the server, the worker and the set-up in docker-compose.yml.
FROM python:3.11.13-slim-bookworm

# OpenCV opens these when it is imported; PyAV, HDF5 and torch bring their own libraries.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/tubeflow
# For a GPU: --build-arg TORCH_INDEX=…/whl/cuXYZ, the one of pytorch.org that fits your driver.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml constraints.txt README.md LICENSE tubeflow.py ./
COPY flows flows
COPY tasks tasks
COPY models models
COPY data_catalog data_catalog
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" .
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
