#!/usr/bin/env bash
# Makes services of this host look at the versions of the others again, one after the other, and waits until each serves,
# so that there is no moment in which none answers.
# Arguments: the folder of their logs, and the names of their processes.
set -eu
folder=$1
shift
# Some begin anew, others only forget what they know; that depends on the backend of oslo.service which a release uses.
done_when='Starting .* node|aught SIGHUP, handling'
for name; do
  log=$folder/$name.log
  seen=$(grep -cE "$done_when" "$log" || true)
  kill -HUP "$(sed 's/.*"pid": \([0-9]*\).*/\1/' "/run/lab/$name.json")"
  for _ in $(seq 150); do
    [ "$(grep -cE "$done_when" "$log" || true)" -gt "$seen" ] && continue 2
    sleep 0.2
  done
  echo "$name did not say within 30 s that it has obeyed SIGHUP: see $log." >&2
  exit 1
done
