#!/bin/bash
# Writes what is made from the charts: their built-in defaults, and plain manifests for those who do
# not use Helm. A test compares both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
helm=$(ls "$cache"/bin/helm-v* | sort -V | tail -n 1)

mkdir -p deploy/kubernetes
for name in ebs efs; do
  chart=deploy/charts/aws-$name-csi-driver
  cp "$chart/values.yaml" "$chart/files/defaults.yaml"
  {
    echo "# Made from $chart by \`make charts\`; a test compares it."
    # A release of this name gets the labels that plain manifests have had.
    "$helm" template kustomize "$chart" --namespace kube-system \
      --api-versions snapshot.storage.k8s.io/v1 \
      --api-versions storage.k8s.io/v1/VolumeAttributesClass
  } >"deploy/kubernetes/$name.yaml"
done
