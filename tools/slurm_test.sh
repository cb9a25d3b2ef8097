#!/usr/bin/env bash
# Test on a Slurm cluster.
# usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
# environment: GPUS (all, default 8; 0: CPU), GPUS_PER_NODE (8), TASKS (default GPUS), CPUS_PER_TASK (5),
#   SRUN_ARGS
set -euo pipefail

usage="usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]"
partition=${1:?$usage}
job_name=${2:?$usage}
config=${3:?$usage}
checkpoint=${4:?$usage}
shift 4

gpus=${GPUS:-8}
tasks=${TASKS:-$gpus}
per_node=${GPUS_PER_NODE:-8}
if [ "$per_node" -gt "$tasks" ]; then per_node=$tasks; fi
gres=()
if [ "$gpus" -gt 0 ]; then gres=(--gres="gpu:$per_node"); fi

# shellcheck disable=SC2086
srun --partition="$partition" --job-name="$job_name" "${gres[@]}" \
    --ntasks="$tasks" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher slurm "$@"
