# One image with both drivers: csi-controller, csi-node, efs-tunnel, and the tools that make, check
# and grow file systems, each with its libraries. No shell, no package manager.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/aws-csi-driver:TAG --push .
#
# Where no registry is reached, `make image` gives base images made of Debian packages and programs
# that are built already (in prebuilt/).
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG TOOLS_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN set -eu; mkdir /out; \
    if [ -e prebuilt/csi-controller ]; then cp prebuilt/* /out/; else \
      (command -v cmake >/dev/null || { apt-get update && apt-get install -y --no-install-recommends cmake; }); \
      cargo build --locked --release -p csi-controller -p csi-node -p efs-tunnel --bins; \
      cp target/release/csi-controller target/release/csi-node target/release/efs-tunnel /out/; \
    fi

FROM ${TOOLS_IMAGE} AS tools
RUN command -v mkfs.xfs >/dev/null && command -v mke2fs >/dev/null && [ -e /etc/ssl/certs/ca-certificates.crt ] || \
    { apt-get update && apt-get install -y --no-install-recommends ca-certificates e2fsprogs xfsprogs; }
COPY deploy/image/collect.sh /collect.sh
COPY --from=build /out /out
RUN sh /collect.sh /out /image

FROM scratch
COPY --from=tools /image /
ENV PATH=/bin
LABEL org.opencontainers.image.title="aws-csi-driver" \
      org.opencontainers.image.description="CSI driver for Amazon EBS and Amazon EFS" \
      org.opencontainers.image.licenses="Apache-2.0"
# The charts name the program; the controller runs as uid 1000, the node plugin and the tunnel as 0.
CMD ["/bin/csi-controller", "--help"]
