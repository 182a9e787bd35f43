#!/usr/bin/env bash
# GRPO with verl, and a GenRM on the same GPU, whose memory training has while no rewards are due (docs/offload.md).
#
#   MODEL=Qwen/Qwen2.5-1.5B-Instruct TRAIN=train.parquet VAL=test.parquet \
#       examples/run_colocated_offload.sh [further keys of verl]
#
# MODEL, TRAIN, VAL    the policy, and its data: the problem in extra_info["question"]
# JUDGE                the GenRM; verl-team/GenRM-CI-Test-1.5B
# JUDGE_MEMORY         its share of a GPU while it is awake; 0.35
# ROLLOUT_MEMORY       the rollout's share; 0.45. Both must fit: rewards are computed while others are still rolled out
# PORT                 of the judge, on which nothing may listen yet; 30000
# JUDGE_START_SECONDS  how long it may take until it answers; 900
# GPUS, PROMPTS, ROLLOUTS, EPOCHS    1, 128 a step, 8 a prompt, 1
# DRY_RUN=1            print what would be run, and run nothing
# SKIP_DOCTOR=1        do not let `genrm doctor` look, and the judge sleep and wake once, before
#
# The judge is served on the first GPU, and sleeps with the last sample of each step before its reward is returned.

set -euo pipefail
GPUS=${GPUS:-1}
# shellcheck source=examples/common.sh
. "$(dirname "$0")/common.sh"
help_if_asked "$@"
require MODEL TRAIN VAL
ROLLOUT_MEMORY=${ROLLOUT_MEMORY:-0.45}

export GENRM_BASE_URL=http://127.0.0.1:${PORT:-30000} GENRM_MODEL_NAME=genrm-demo
export GENRM_USE_OFFLOAD=1 GENRM_BATCH_SIZE=$((PROMPTS * ROLLOUTS))

serve "$GENRM_BASE_URL/health" env VLLM_SERVER_DEV_MODE=1 \
    vllm serve "${JUDGE:-verl-team/GenRM-CI-Test-1.5B}" --served-model-name "$GENRM_MODEL_NAME" \
    --host 127.0.0.1 --port "${PORT:-30000}" --enable-sleep-mode --gpu-memory-utilization "${JUDGE_MEMORY:-0.35}"
run "$PYTHON" -m genrm.cli offload sleep
train pkg://genrm.reward_function compute_score "$@"
