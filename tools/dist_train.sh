#!/usr/bin/env bash
# Train with several processes on one or more machines:
#   GPUS processes per machine, on GPUs or, where there are none, on the CPU.
# usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# environment: NNODES, NODE_RANK, MASTER_ADDR, PORT
set -euo pipefail

config=${1:?usage: $0 CONFIG GPUS [arguments of tools/train.py]}
gpus=${2:?usage: $0 CONFIG GPUS [arguments of tools/train.py]}
shift 2

python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
