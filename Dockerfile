# syntax=docker/dockerfile:1
# One build, one image a program: `docker build --target signalbox .`, or signalbox-control-plane, or signalbox-data-plane.

FROM rust:1.95-slim-bookworm AS build
# The C compiler builds SQLite, zstd and the cryptography.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --locked --release --bins --package signalbox --package signalbox-control-plane --package signalbox-data-plane \
    && install -D --target-directory=/programs \
        target/release/signalbox target/release/signalbox-control-plane target/release/signalbox-data-plane

FROM debian:bookworm-slim AS base
# The certificates are for providers that are reached over TLS with a private authority added to the system's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin signalbox \
    && install --directory --owner=signalbox --group=signalbox --mode=0700 /data
ENV SIGNALBOX_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
STOPSIGNAL SIGTERM

FROM base AS signalbox-control-plane
COPY --from=build /programs/signalbox-control-plane /usr/local/bin/
ENV SIGNALBOX_ADMIN_LISTEN=0.0.0.0:9090
EXPOSE 9090 9091
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s CMD ["signalbox-control-plane", "healthcheck"]
ENTRYPOINT ["signalbox-control-plane"]
CMD ["serve"]

FROM base AS signalbox-data-plane
COPY --from=build /programs/signalbox-data-plane /usr/local/bin/
ENV SIGNALBOX_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s CMD ["signalbox-data-plane", "healthcheck"]
ENTRYPOINT ["signalbox-data-plane"]
CMD ["serve"]

FROM base AS signalbox
COPY --from=build /programs/signalbox /usr/local/bin/
ENV SIGNALBOX_LISTEN=0.0.0.0:8080 SIGNALBOX_ADMIN_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s CMD ["signalbox", "healthcheck"]
ENTRYPOINT ["signalbox"]
CMD ["up"]
