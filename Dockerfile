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
ENV PATH=/opt/replicator/bin:$PATH MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=1073741824
RUN useradd --system --uid 10001 replicator
USER 10001
STOPSIGNAL SIGTERM
EXPOSE 8080
ENTRYPOINT ["replicator"]
CMD ["run", "-c", "/etc/replicator/replicator.yaml"]
