# The operator's image, for those who have a container engine; `make image` builds the same without one.
#   docker build --tag kleym-operator .
# The compiler is the one that rust-toolchain.toml pins. Its image is named by tag, not by digest: the released image does not
# come from here, and nothing of the build image but the C library goes into the program.
FROM rust:1.95.0-alpine AS build
# Alpine keeps only the newest version of a package, so a pinned one is gone soon.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base cmake perl
WORKDIR /kleym
COPY . .
ARG REVISION=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/kleym/target \
    KLEYM_BUILD_REVISION=$REVISION cargo build --release --locked --package kleym-operator && \
    cp target/release/kleym-operator /kleym-operator

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kleym-operator" \
      org.opencontainers.image.description="SPIFFE identities for LLM inference, compiled from InferencePools and InferenceObjectives" \
      org.opencontainers.image.url="https://kleym.sonda.red" \
      org.opencontainers.image.source="https://github.com/sonda-red/kleym" \
      org.opencontainers.image.vendor="The Kleym authors" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build --chmod=0444 /kleym/LICENSE /licenses/LICENSE
COPY --from=build --chmod=0555 /kleym-operator /kleym-operator
USER 65532:65532
ENTRYPOINT ["/kleym-operator"]
