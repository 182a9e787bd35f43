# The runner of the tests on a GPU, in vLLM's own image: docker build -f ci/gpu.Dockerfile -t genrm-gpu .
# docker run --gpus all -v genrm-huggingface:/root/.cache/huggingface genrm-gpu
# Arguments are nox's: docker run ... genrm-gpu -s gpu_e2e -- -k sleep
# Each run installs a trainer (gigabytes), unless: docker run ... genrm-gpu -s gpu_e2e -- --no-grpo
ARG BASE=vllm/vllm-openai:v0.32.0
FROM ${BASE}
WORKDIR /src
# An environment of its own: what is installed here must not change a package under the server.
RUN ["python3", "-m", "venv", "/opt/runner"]
COPY . .
RUN ["/opt/runner/bin/pip", "install", "--no-cache-dir", "nox>=2024.4.15", "."]
# The judge is the image's vLLM.
ENV JUDGE_PYTHON=/usr/bin/python3 PATH=/opt/runner/bin:$PATH
# The session asks for a Python that the image does not have.
ENTRYPOINT ["nox", "--force-python", "python3"]
CMD ["-s", "gpu_e2e"]
