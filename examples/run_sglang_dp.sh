#!/usr/bin/env bash
# GRPO with verl, and a GenRM behind SGLang with data parallelism, on GPUs of its own in the same host.
#
#   MODEL=Qwen/Qwen2.5-3B-Instruct TRAIN=train.parquet VAL=test.parquet JUDGE_GPUS=6,7 TRAIN_GPUS=0,1,2,3,4,5 \
#       examples/run_sglang_dp.sh [further keys of verl]
#
# MODEL, TRAIN, VAL    the policy, and its data: the problem in extra_info["question"]
# JUDGE                the GenRM; verl-team/GenRM-CI-Test-1.5B
# JUDGE_GPUS           one copy of it on each of these; 6,7
# TRAIN_GPUS           the others; 0,1,2,3,4,5
# PORT                 of the judge, on which nothing may listen yet; 30000
# JUDGE_START_SECONDS  how long it may take until it answers; 900
# PROMPTS, ROLLOUTS, EPOCHS    128 a step, 8 a prompt, 1
# DRY_RUN=1            print what would be run, and run nothing
# SKIP_DOCTOR=1        do not let `genrm doctor` look at judge and keys before

set -euo pipefail
JUDGE_GPUS=${JUDGE_GPUS:-6,7} TRAIN_GPUS=${TRAIN_GPUS:-0,1,2,3,4,5}
count() { awk -F, '{print NF}' <<<"$1"; }
GPUS=$(count "$TRAIN_GPUS")
# shellcheck source=examples/common.sh
. "$(dirname "$0")/common.sh"
help_if_asked "$@"
require MODEL TRAIN VAL

export GENRM_BASE_URL=http://127.0.0.1:${PORT:-30000} GENRM_MODEL_NAME=genrm-demo GENRM_SERVER_BACKEND=sglang

serve "$GENRM_BASE_URL/health" env CUDA_VISIBLE_DEVICES="$JUDGE_GPUS" \
    "$PYTHON" -m sglang.launch_server --model-path "${JUDGE:-verl-team/GenRM-CI-Test-1.5B}" \
    --served-model-name "$GENRM_MODEL_NAME" --dp-size "$(count "$JUDGE_GPUS")" --host 127.0.0.1 --port "${PORT:-30000}"
export CUDA_VISIBLE_DEVICES=$TRAIN_GPUS
train pkg://genrm.reward_function compute_score "$@"
