#!/usr/bin/env bash
# GRPO with verl, and a GenRM for the reward that is served somewhere else. Where it runs:
#
#   vllm serve verl-team/GenRM-CI-Test-1.5B --served-model-name genrm-demo --port 30000
#
# and here:
#
#   MODEL=Qwen/Qwen2.5-3B-Instruct TRAIN=train.parquet VAL=test.parquet GENRM_BASE_URL=http://judge:30000 \
#       examples/run_genrm_remote.sh [further keys of verl]
#
# MODEL, TRAIN, VAL    the policy, and its data: the problem in extra_info["question"]
# GENRM_BASE_URL       where the judge is served; several, separated by commas, are balanced
# GENRM_...            docs/settings.md
# GPUS, PROMPTS, ROLLOUTS, EPOCHS    8, 128 a step, 8 a prompt, 1
# DRY_RUN=1            print what would be run, and run nothing
# SKIP_DOCTOR=1        do not let `genrm doctor` look at judge and keys before
#
# The installed verl decides about the names of the keys. Those that it would ignore are refused.

set -euo pipefail
# shellcheck source=examples/common.sh
. "$(dirname "$0")/common.sh"
help_if_asked "$@"
require MODEL TRAIN VAL GENRM_BASE_URL

train pkg://genrm.reward_function compute_score "$@"
