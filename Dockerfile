# docker build -t jepakit .                               CPU
# docker build -t jepakit --build-arg TORCH=cu130 .        one of torch's CUDA builds, run with --gpus all
# docker run --rm -v "$PWD/runs:/work/runs" --user "$(id -u):$(id -g)" jepakit
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY jepakit jepakit
COPY recipes recipes
RUN pip install --no-cache-dir -c constraints.txt build
RUN python -m build --wheel --outdir /wheels

FROM python:${PYTHON}-slim-bookworm
ARG TORCH=cpu
ARG EXTRAS=minigrid,atari,dmc,report,video
# what dm_control draws with
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri libosmesa6 \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend="${TORCH}" -c /tmp/constraints.txt "$(echo /tmp/wheels/*.whl)[${EXTRAS}]" \
    && rm -r /tmp/wheels /tmp/constraints.txt
# any user may run it, with nothing to write to but the folder of runs
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
RUN mkdir -p /work/runs && chmod 1777 /work/runs
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["jepakit"]
CMD ["run", "cartpole_pixels"]
