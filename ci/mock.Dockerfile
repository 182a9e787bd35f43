# The mock judge: docker build -f ci/mock.Dockerfile -t genrm-mock . && docker run -p 127.0.0.1:30000:30000 genrm-mock
# Commands are in their exec form, as BASE may have no shell.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
# 1 where there is no package index; ./wheels then has all that is needed.
ARG PIP_NO_INDEX=0
WORKDIR /src
# The pattern is one that may match nothing.
COPY LICENSE README.md pyproject.toml wheel[s] ./
COPY genrm genrm
COPY mock_server mock_server
RUN ["python", "-m", "pip", "install", "--no-cache-dir", "--find-links", ".", "--target", "/opt/genrm", "."]

FROM ${BASE}
COPY --from=build /opt/genrm /opt/genrm
ENV MOCK_SERVER_HOST=0.0.0.0 MOCK_SERVER_PORT=30000
ENV PYTHONPATH=/opt/genrm PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 30000
HEALTHCHECK --interval=5s --timeout=5s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MOCK_SERVER_PORT'] + '/health')"]
ENTRYPOINT ["python", "-m", "mock_server"]
