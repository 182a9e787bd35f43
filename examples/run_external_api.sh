#!/usr/bin/env bash
# GRPO with verl, and a model behind an API for the judge: OpenAI's, or one that is compatible with it.
#
#   GENRM_API_KEY=... GENRM_MODEL_NAME=gpt-4o-mini MODEL=Qwen/Qwen2.5-3B-Instruct TRAIN=train.parquet VAL=test.parquet \
#       examples/run_external_api.sh [further keys of verl]
#
# GENRM_API_KEY        by the environment alone: arguments can be seen by everybody on the host, and are logged by verl
# GENRM_MODEL_NAME     the model's name there
# GENRM_BASE_URL       https://api.openai.com
# MODEL, TRAIN, VAL    the policy, and its data: the problem in extra_info["question"]
# GENRM_MAX_WORKERS    requests at once in each of two processes; 16. A 429 is asked again when its Retry-After says so
# GPUS, PROMPTS, ROLLOUTS, EPOCHS    8, 128 a step, 8 a prompt, 1
# DRY_RUN=1            print what would be run (without the key), and run nothing
# SKIP_DOCTOR=1        do not let `genrm doctor` look at judge and keys before; it asks nine times
#
# OpenAI's reasoning models refuse temperature and max_tokens:
#
#   GENRM_EXTRA_BODY='{"temperature": null, "max_tokens": null, "max_completion_tokens": 4096}'
#
# On several hosts the key must be in the environment that Ray is started in, on each of them.

set -euo pipefail
# shellcheck source=examples/common.sh
. "$(dirname "$0")/common.sh"
help_if_asked "$@"
require MODEL TRAIN VAL GENRM_API_KEY GENRM_MODEL_NAME

export GENRM_SERVER_BACKEND=openai GENRM_BASE_URL=${GENRM_BASE_URL:-https://api.openai.com}
export GENRM_MAX_WORKERS=${GENRM_MAX_WORKERS:-16} GENRM_MAX_RETRIES=${GENRM_MAX_RETRIES:-6}
choose_keys "$@"
WORKERS=$([ -n "$KEYS" ] && echo reward.num_workers || echo reward_model.num_workers)
train pkg://genrm.reward_function compute_score "$WORKERS=2" "$@"
