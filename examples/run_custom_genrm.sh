#!/usr/bin/env bash
# GRPO with verl, and a GenRM with a prompt, a parser and a reward of your own: see custom_genrm.py beside this file.
#
#   MODEL=Qwen/Qwen2.5-3B-Instruct TRAIN=train.parquet VAL=test.parquet GENRM_BASE_URL=http://judge:30000 \
#       GENRM_MODEL_NAME=Qwen2.5-32B-Instruct examples/run_custom_genrm.sh [further keys of verl]
#
# The variables are those of run_genrm_remote.sh; GENRM_PROMPT_TEMPLATE must not be set. The doctor asks the judge with
# the built-in prompt, not with that of custom_genrm.py.

set -euo pipefail
# shellcheck source=examples/common.sh
. "$(dirname "$0")/common.sh"
help_if_asked "$@"
require MODEL TRAIN VAL GENRM_BASE_URL

train "$(cd "$(dirname "$0")" && pwd)/custom_genrm.py" compute_score "$@"
