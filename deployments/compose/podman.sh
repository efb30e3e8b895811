#!/bin/sh
# Starts docker-compose.yml with podman before 4.6, or on a machine without systemd, where podman-compose waits for no
# health check: one service after the other, each when the one before is well or has ended well.
#
#   deployments/compose/podman.sh
#   deployments/compose/podman.sh --profile rehearsal simulators deploy-rehearsal worker-rehearsal    # beside the others
#
# PATIENCE: seconds for each of them (300). Build the images first: `podman-compose build`.
set -eu
cd "$(dirname "$0")/../.."
services="postgres store buckets prefect mlflow deploy worker serve"
profile=""
if [ "${1-}" = --profile ]; then
  profile="--profile $2"
  shift 2
fi

well() {  # of a service that ends: whether it has ended well
  if [ "$(podman inspect --format '{{.HostConfig.RestartPolicy.Name}}' "$1")" = no ]; then
    [ "$(podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1")" = "exited 0" ]
  else
    podman healthcheck run "$1" > /dev/null 2>&1
  fi
}

for service in ${*:-$services}; do
  # shellcheck disable=SC2086  # two words, or none
  podman-compose --file docker-compose.yml --file deployments/compose/podman.yaml $profile \
    up --detach --no-deps --no-build "$service" > /dev/null
  container=shardtune_${service}_1
  left=${PATIENCE:-300}
  until well "$container"; do
    left=$((left - 1))
    if [ "$left" -le 0 ]; then
      podman logs --tail 20 "$container"
      echo "$service is not well after ${PATIENCE:-300} s; its log is above" >&2
      exit 1
    fi
    sleep 1
  done
  echo "$service is well"
done
