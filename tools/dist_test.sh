#!/usr/bin/env bash
# Test with several processes on one or more machines:
#   GPUS processes per machine, on GPUs or, where there are none, on the CPU.
# usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# environment: NNODES, NODE_RANK, MASTER_ADDR, PORT
set -euo pipefail

config=${1:?usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]}
checkpoint=${2:?usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]}
gpus=${3:?usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]}
shift 3

python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
