# CPU image with every command:  docker build -t adrl-gym .
#   docker run --rm -v "$PWD/runs:/home/adrl/runs" adrl-gym adrl --episodes 10
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# Give the address of PyTorch's CPU wheels (its installation page has it) to leave gigabytes of CUDA libraries out:
#   docker build --build-arg TORCH_INDEX=ADDRESS -t adrl-gym .
ARG TORCH_INDEX=""
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.9" "torchvision>=0.24"

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY adrl_gym adrl_gym
COPY agents agents
RUN pip install ".[agents,export]"

RUN useradd --create-home adrl
USER adrl
WORKDIR /home/adrl

ENTRYPOINT ["adrl-gym"]
CMD ["--help"]
