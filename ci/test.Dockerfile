# The tests that need neither GPU nor network: docker build -f ci/test.Dockerfile -t genrm-test . && docker run genrm-test
# Arguments are pytest's: docker run genrm-test tests/property -k verdict
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG PIP_NO_INDEX=0
WORKDIR /src
COPY LICENSE README.md pyproject.toml wheel[s] /tmp/project/
COPY genrm /tmp/project/genrm
COPY mock_server /tmp/project/mock_server
# Dependency groups came with pip 25.1.
RUN ["python", "-m", "pip", "install", "--no-cache-dir", "--find-links", "/tmp/project", "pip>=25.1"]
RUN ["python", "-m", "pip", "install", "--no-cache-dir", "--find-links", "/tmp/project", \
     "--group", "/tmp/project/pyproject.toml:test", "/tmp/project"]
COPY . .
# Hypothesis and pytest write beside the tests.
RUN ["python", "-c", "import os; os.chown('/src', 65532, 65532)"]
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
ENTRYPOINT ["python", "-m", "pytest"]
CMD ["tests/unit", "tests/property", "-n", "auto"]
