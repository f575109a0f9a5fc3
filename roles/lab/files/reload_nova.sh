#!/usr/bin/env bash
# Makes nova's conductor and scheduler of this host look at the versions of the computes again, and waits until they
# serve, so that the next host's can follow without a moment in which no conductor answers.
# Argument: the folder of their logs.
set -eu
for name in conductor scheduler; do
  log=$1/nova-$name.log
  seen=$(grep -c "Starting $name node" "$log" || true)
  kill -HUP "$(sed 's/.*"pid": \([0-9]*\).*/\1/' "/run/lab/nova-$name.json")"
  for _ in $(seq 100); do
    [ "$(grep -c "Starting $name node" "$log" || true)" -gt "$seen" ] && break
    sleep 0.2
  done
done
