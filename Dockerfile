# An image of `voxlate serve` for CPUs; docs/docker.md says how to use it, and how to build one for a GPU.
FROM python:3.12.12-slim-bookworm AS build
RUN python -m venv /opt/voxlate
ENV PATH=/opt/voxlate/bin:$PATH
WORKDIR /source
# PyTorch has a layer of its own, since it is large and changes seldom. Its version for CPUs, such as 2.13.0+cpu, counts
# as newer than the default one, so pip prefers it. An empty TORCH_INDEX takes the default one, which includes CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} torch
COPY pyproject.toml README.md LICENSE ./
COPY ast/voxlate ast/voxlate
COPY eval/voxlate_eval eval/voxlate_eval
COPY recipes/covost2 recipes/covost2
COPY recipes/demo/clips recipes/demo/clips
COPY recipes/demo/demo.yaml recipes/demo/demo.yaml
COPY recipes/demo/micro.yaml recipes/demo/micro.yaml
COPY recipes/demo/model recipes/demo/model
RUN pip install --no-cache-dir --constraint constraints.txt ".[serve]"

FROM python:3.12.12-slim-bookworm
RUN useradd --uid 1000 --create-home voxlate && install --directory --owner voxlate --group voxlate /models
COPY --from=build /opt/voxlate /opt/voxlate
# Models of the Hugging Face Hub are downloaded into the volume once.
ENV PATH=/opt/voxlate/bin:$PATH HF_HOME=/models/huggingface PYTHONUNBUFFERED=1
USER voxlate
WORKDIR /models
VOLUME /models
EXPOSE 8000
# /health answers 503 until the model is loaded, which at the first start includes its download.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15m --start-interval=5s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=8)"]
ENTRYPOINT ["voxlate"]
# In a container, 0.0.0.0 is only the container's network: what is published of it decides who can connect.
CMD ["serve", "--host", "0.0.0.0", "--model", "facebook/wav2vec2-xls-r-300m-en-to-15"]
