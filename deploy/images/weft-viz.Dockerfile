# The dashboard and live calls of the service mesh weft.
#   docker build -f deploy/images/weft-viz.Dockerfile --build-arg VERSION=0.1.0 .
# `cargo xtask image` builds the last stage alone, from programs that are built already.
FROM rust:1.90-bookworm AS build
WORKDIR /weft
COPY . .
RUN cargo xtask build --release \
 && strip --strip-debug target/release/weft-viz \
 && deploy/images/collect.sh /content target/release/weft-viz

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="weft-viz" \
      org.opencontainers.image.description="The dashboard and live calls of the service mesh weft" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="https://github.com/weft-mesh/weft" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /content /
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/usr/bin/weft-viz"]
