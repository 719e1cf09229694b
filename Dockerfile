# syntax=docker/dockerfile:1
# docker build -t fleetwarden .

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make pkg-config libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches make the next build take the changed crate only.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin fleetwarden \
 && cp target/release/fleetwarden /usr/local/bin/fleetwarden

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/fleetwarden --create-home fleetwarden
COPY --from=build /usr/local/bin/fleetwarden /usr/local/bin/fleetwarden
COPY rules /etc/fleetwarden/rules
COPY schemas /etc/fleetwarden/schemas
COPY fleetwarden.toml /etc/fleetwarden/fleetwarden.toml
# Where `[checkpoints] url = "state"` lies: all processes of a group must see the same, so mount one there.
RUN install -d -o fleetwarden /etc/fleetwarden/state
VOLUME /etc/fleetwarden/state
USER fleetwarden
WORKDIR /etc/fleetwarden
EXPOSE 9464
ENTRYPOINT ["fleetwarden"]
CMD ["run", "-c", "fleetwarden.toml"]
