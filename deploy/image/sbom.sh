#!/bin/bash
# Prints what the image is made of as SPDX 2.3: the crates that the programs are linked from (from
# cargo) and the Debian packages whose files it holds.
# Usage: sbom.sh LIST-OF-PACKAGES VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
packages=$1 version=$2
target=$(rustc -vV | sed -n 's/^host: //p')

# What the three programs are linked from: what runs only while they are built or tested is not in
# the image.
crates=$(cargo tree --locked --target "$target" --edges normal,no-proc-macro --prefix none --format '{p}|{l}' \
  -p csi-controller -p csi-node -p efs-tunnel | sed 's/ ([^)]*)//g' | sort -u | grep -v '^$')

jq -n --arg version "$version" --arg created "$(date -u +%FT%TZ)" \
  --arg crates "$crates" --rawfile debian "$packages" '
  def id: gsub("[^A-Za-z0-9.-]"; "-");
  ($crates | split("\n") | map(select(. != "") | split("|") as [$p, $licence]
    | ($p | split(" ")) as [$name, $v]
    | {SPDXID: "SPDXRef-crate-\($name | id)-\($v | id)", name: $name, versionInfo: ($v | ltrimstr("v")),
       downloadLocation: "NOASSERTION", filesAnalyzed: false,
       licenseDeclared: (if ($licence // "") == "" then "NOASSERTION" else ($licence | gsub("/"; " OR ")) end),
       licenseConcluded: "NOASSERTION", copyrightText: "NOASSERTION",
       externalRefs: [{referenceCategory: "PACKAGE-MANAGER", referenceType: "purl",
         referenceLocator: "pkg:cargo/\($name)@\($v | ltrimstr("v"))"}]})
    | unique_by(.SPDXID)) as $of_cargo
  | ($debian | split("\n") | map(select(. != "") | split("\t") as [$name, $v, $arch, $source]
    | {SPDXID: "SPDXRef-deb-\($name | id)-\($v | id)", name: $name, versionInfo: $v,
       downloadLocation: "NOASSERTION", filesAnalyzed: false,
       licenseDeclared: "NOASSERTION", licenseConcluded: "NOASSERTION", copyrightText: "NOASSERTION",
       sourceInfo: "built from Debian source package \($source)",
       externalRefs: [{referenceCategory: "PACKAGE-MANAGER", referenceType: "purl",
         referenceLocator: "pkg:deb/debian/\($name)@\($v | @uri)?arch=\($arch)&distro=debian-12"}]})) as $of_debian
  | {SPDXID: "SPDXRef-image", name: "aws-csi-driver", versionInfo: $version, downloadLocation: "NOASSERTION",
     filesAnalyzed: false, licenseDeclared: "Apache-2.0", licenseConcluded: "NOASSERTION",
     copyrightText: "NOASSERTION", primaryPackagePurpose: "CONTAINER"} as $image
  | {spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT",
     name: "aws-csi-driver-\($version)",
     documentNamespace: "https://spdx.org/spdxdocs/aws-csi-driver-\($version)-\($created)",
     creationInfo: {created: $created, creators: ["Tool: sbom.sh"]},
     packages: ([$image] + $of_cargo + $of_debian),
     relationships: ([{spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: "SPDXRef-image"}]
       + (($of_cargo + $of_debian) | map({spdxElementId: "SPDXRef-image", relationshipType: "CONTAINS", relatedSpdxElement: .SPDXID})))}'
