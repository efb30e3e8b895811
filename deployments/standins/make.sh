#!/bin/sh
# Makes every image that deployments/Dockerfile and docker-compose.yml would fetch, where no registry is in reach.
#
#   deployments/standins/make.sh [--network host -v /etc/ssl/certs:/etc/ssl/certs:ro …]
#
# Arguments go to `$ENGINE build` (podman unless set): what this machine's apt and npm need inside a build, as mounts or
# --env. BASE names a Debian 12 image with python3 and python3-venv; where it is missing debootstrap makes it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
engine=${ENGINE:-podman} base=${BASE:-localhost/base:bookworm}

if ! "$engine" image inspect "$base" > /dev/null 2>&1; then
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$place/root"
  tar -C "$place/root" -c . | "$engine" import - "$base"
fi

# What the two files name: the tags are theirs.
python=$(sed -n 's/^ARG PYTHON=//p' "$here/../Dockerfile" | head -n 1)
gateway=$(sed -n 's/^ARG GATEWAY=//p' "$here/../Dockerfile")
postgres=$(sed -n 's/^ *image: \(.*\/postgres:.*\)/\1/p' "$here/../../docker-compose.yml")
set -- --build-arg "BASE=$base" --file "$here/Dockerfile" "$@" "$here"
for one in "python $python" "postgres $postgres" "store $gateway"; do
  "$engine" build --target "${one%% *}" --tag "${one#* }" "$@" >&2
  echo "STAND-IN ${one#* }: $("$engine" image inspect --format '{{index .Labels "shardtune.standin"}}' "${one#* }")"
done
