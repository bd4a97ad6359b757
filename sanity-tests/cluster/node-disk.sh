#!/bin/bash
# Makes the second disk of a node: the images and programs that prepare.sh has built, and the image
# of the driver from an archive beside them. Usage: node-disk.sh FOLDER-OF-PREPARE ARCHIVE DISK
set -euo pipefail
base=$1 archive=$2 disk=$3
. "$(dirname "${BASH_SOURCE[0]}")/containerd.sh"
cp --sparse=always "$base/node.raw" "$disk"
in_images "$base/containerd" "$disk" "$archive"
