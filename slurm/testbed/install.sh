#!/usr/bin/env bash
# A real SLURM for tests, from Debian's packages (15 MB): nothing is started here, cluster.py does that.
set -euo pipefail
command -v slurmctld >/dev/null && command -v munged >/dev/null && exit 0
apt-get update -qq
# No daemon may start by itself while the packages unpack: the testbed starts its own, in its own folder.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=1; }
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
[ -z "${made:-}" ] || rm -f /usr/sbin/policy-rc.d
