FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md DESIGN.md CHANGELOG.md LICENSE ./
COPY replicator replicator
COPY broker broker
RUN python -m venv /opt/replicator \
 && /opt/replicator/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="replicator" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/replicator /opt/replicator
# Large buffers are kept and reused rather than given back and faulted in again for every fetch.
ENV PATH=/opt/replicator/bin:$PATH \
    MALLOC_TRIM_THRESHOLD_=1073741824 \
    MALLOC_MMAP_THRESHOLD_=1073741824 \
    PYTHONDONTWRITEBYTECODE=1 \
    REPLICATOR_CONFIG=/etc/replicator/replicator.yaml \
    REPLICATOR_HEALTH_URL=http://127.0.0.1:8080/healthz
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent replicator
# Nothing is written but /tmp: the root file system may be read-only.
USER 10001
STOPSIGNAL SIGTERM
EXPOSE 8080
# Whether the process answers; what it waits for is said by /readyz. The certificate's name is that of the outside.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-I", "-c", "import os, ssl, urllib.request; urllib.request.urlopen(os.environ['REPLICATOR_HEALTH_URL'], timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["replicator"]
CMD ["run"]
