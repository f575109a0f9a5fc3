#!/usr/bin/env bash
# Makes the three rings of Swift, in which each host holds one of the three copies.
# Arguments: swift-ring-builder, the folder of the rings, the addresses of the hosts.
set -eu
builder=$1 folder=$2
shift 2
cd "$folder"
ring() {
  local name=$1 port=$2 zone=0 devices=()
  shift 2
  for address; do
    zone=$((zone + 1))
    devices+=("r1z$zone-$address:$port/d" 100)
  done
  rm -f "$name.builder" "$name.ring.gz"
  "$builder" "$name.builder" create 6 3 1 > /dev/null
  "$builder" "$name.builder" add "${devices[@]}" > /dev/null
  "$builder" "$name.builder" rebalance > /dev/null
}
ring account 6202 "$@" &
ring container 6201 "$@"
wait $!
# Last: where it is, all are.
ring object 6200 "$@"
