#!/bin/bash
# Builds the image without a registry: base images from Debian packages (kept in the cache), the
# programs from this checkout, the image with buildah; prints its size, and puts archive and SBOM
# into target/image. PROFILE=debug takes debug programs, for trying the image out; PROGRAMS=FOLDER
# takes programs that are built already; OUT=FOLDER puts the image there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
profile=${PROFILE:-release}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=localhost/aws-csi-driver:$version
out=${OUT:-target/image}
say() { echo "image: $*"; }

missing=()
for tool in buildah mmdebstrap jq; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

programs=${PROGRAMS:-target/$profile}
if [ -z "${PROGRAMS:-}" ]; then
  say "building the programs ($profile)"
  flags=()
  [ "$profile" = release ] && flags=(--release)
  cargo build --locked "${flags[@]}" -p csi-controller -p csi-node -p efs-tunnel --bins
fi

base=$cache/image-base-bookworm.tar
if [ ! -e "$base" ]; then
  say "building the base image from Debian packages (once)"
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,e2fsprogs,xfsprogs bookworm "$base.new"
  mv "$base.new" "$base"
fi

work=$(mktemp -d)
# Storage of its own, so that nothing is left on the machine.
store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs)
cleanup() { buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"; }
trap cleanup EXIT

context=$work/context
mkdir -p "$context/deploy/image" "$context/prebuilt" "$out"
cp Dockerfile "$context/"
cp deploy/image/collect.sh "$context/deploy/image/"
for program in csi-controller csi-node efs-tunnel; do
  cp "$programs/$program" "$context/prebuilt/"
  strip "$context/prebuilt/$program"
done

container=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" add --quiet "$container" "$base" / >/dev/null
buildah "${store[@]}" commit --quiet "$container" localhost/csi-base >/dev/null
buildah "${store[@]}" build --quiet --isolation chroot --layers=false --pull-never \
  --build-arg BUILD_IMAGE=localhost/csi-base --build-arg TOOLS_IMAGE=localhost/csi-base \
  --tag "$name" "$context" >/dev/null

rm -f "$out/aws-csi-driver.tar"
buildah "${store[@]}" push --quiet "$name" "docker-archive:$out/aws-csi-driver.tar:$name" >/dev/null
container=$(buildah "${store[@]}" from --pull-never "$name")
root=$(buildah "${store[@]}" mount "$container")
cp "$root/usr/share/doc/aws-csi-driver/packages" "$out/packages"
deploy/image/sbom.sh "$out/packages" "$version" >"$out/sbom.spdx.json"

say "$name in $out/aws-csi-driver.tar, SBOM in $out/sbom.spdx.json"
say "$(find "$root" -type f | wc -l) files, unpacked $(du -sb "$root" | awk '{printf "%.1f MB", $1 / 1e6}')"
(cd "$root" && du -b bin/* lib*/*/* 2>/dev/null | sort -rn | head -n 8 | awk '{printf "image:   %6.1f MB  %s\n", $1 / 1e6, $2}')
