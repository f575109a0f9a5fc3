#!/usr/bin/env bash
# Makes services of this host look at the versions of the others again, one after the other, and waits until each serves,
# so that there is no moment in which none answers.
# Arguments: the folder of their logs, and what each writes there when it begins: "process=words"...
set -eu
folder=$1
shift
for pair; do
  name=${pair%%=*} words=${pair#*=}
  log=$folder/$name.log
  seen=$(grep -c "$words" "$log" || true)
  kill -HUP "$(sed 's/.*"pid": \([0-9]*\).*/\1/' "/run/lab/$name.json")"
  for _ in $(seq 100); do
    [ "$(grep -c "$words" "$log" || true)" -gt "$seen" ] && break
    sleep 0.2
  done
done
