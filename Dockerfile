# syntax=docker/dockerfile:1
# Two stages: what it takes to install, and what it takes to run. No compiler, no pip cache
# and no MongoDB in the second: the index lives in a MongoDB of your own (compose.yaml).

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/hilum
# What Hilum needs changes less often than Hilum: a layer of its own, made from the same list.
COPY pyproject.toml ./
RUN /opt/hilum/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && /opt/hilum/bin/pip install --requirement requirements.txt
COPY README.md ./
COPY hilum ./hilum
RUN /opt/hilum/bin/pip install --no-deps .

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="Hilum" \
      org.opencontainers.image.description="A DICOM node that takes studies in, never loses an image, and shows them at once"
RUN groupadd --system --gid 10104 hilum \
    && useradd --system --uid 10104 --gid hilum --no-create-home --home-dir /nonexistent hilum \
    && install --directory --owner hilum --group hilum /data
COPY --from=build /opt/hilum /opt/hilum
ENV PATH=/opt/hilum/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HILUM_BIND=0.0.0.0 \
    HILUM_DATA_DIR=/data \
    HILUM_LOG_FORMAT=json
USER 10104:10104
VOLUME /data
EXPOSE 4242 8042
# 503 raises, and so does a node that does not answer: both are unhealthy.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('HILUM_HTTP_PORT', '8042')}/health\", timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["hilum"]
CMD ["serve"]
