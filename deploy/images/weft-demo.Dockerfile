# The demo emojivoto of the service mesh weft, and its TCP clients and servers.
#   docker build -f deploy/images/weft-demo.Dockerfile --build-arg VERSION=0.1.0 .
# `cargo xtask image` builds the last stage alone, from programs that are built already.
FROM rust:1.90-bookworm AS build
WORKDIR /weft
COPY . .
RUN cargo xtask build --release \
 && strip --strip-debug target/release/weft-demo \
 && deploy/images/collect.sh /content target/release/weft-demo

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="weft-demo" \
      org.opencontainers.image.description="The demo emojivoto of the service mesh weft, and its TCP clients and servers" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="https://github.com/weft-mesh/weft" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /content /
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/usr/bin/weft-demo"]
