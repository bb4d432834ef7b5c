#!/usr/bin/env bash
# The guest's half of boot.py: put the disk's copies over their usual paths, then run pytest.
set -u

modprobe -a virtio_blk ext4 overlay loop btrfs xfs veth bridge br_netfilter nf_tables nft_chain_nat nft_masq
udevadm settle 2>/dev/null || true
mount -o noatime /dev/vda /mnt || exit 1
while read -r number path; do
    mount --bind "/mnt/$number" "$path" || exit 1
done </mnt/binds
ip link set lo up

chmod 1777 /mnt/scratch
export TMPDIR=/mnt/scratch ANCHOR_TEST_DIR=/mnt/scratch HOME=/root LANG=C.UTF-8
cd "$PWD" || exit 1 # the checkout is a new mount
mapfile -d "" arguments </mnt/arguments
.venv/bin/python -m pytest "${arguments[@]}"
echo "$VERDICT $?"
