#!/usr/bin/env bash
# Stands in for `sacct` on a cluster without accounting: asks the controller, which remembers ended jobs for MinJobAge.
# Understands what submitit and birds ask: sacct -o JobID,State,NodeList --parsable2 -j ID [-j ID ...]
ids=""
while [ $# -gt 0 ]; do
    case $1 in
        -j) ids="$ids,$2"; shift 2 ;;
        *) shift ;;
    esac
done
echo "JobID|State|NodeList"
exec squeue -h -t all -r -j "${ids#,}" -o "%i|%T|%N"
